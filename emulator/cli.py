"""``trustbox emulator …``: boxes that run between commands, and the image that they run.

::

    trustbox emulator start [--serial TB-…]     switch a box on and keep it running
    trustbox emulator list [--json]             which boxes run
    trustbox emulator console [--secure]        its serial console, with the keyboard; Ctrl-] leaves
    trustbox emulator stop [--serial TB-… | --all]
"""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer
from rich.console import Console as Terminal

from emulator import launch, registry
from emulator.box_store import check_serial
from emulator.cli_image import register
from emulator.terminal import talk
from harness.deadline import Deadline
from harness.errors import Misuse
from harness.target import World

DEFAULT_SERIAL = "TB-EMU-0001"
_START_SECONDS = 120.0
_STOP_SECONDS = 30.0

app = typer.Typer(
    help="Emulated boxes: keep them running, build their image.", no_args_is_help=True
)
register(app)

Serial = Annotated[str, typer.Option(help="Serial number: each is a box of its own.")]


@app.command()
def start(serial: Serial = DEFAULT_SERIAL) -> None:
    """Switch a box on and keep it running; its disk lasts. Building the image first, if need be."""
    check_serial(serial)
    terminal = Terminal(stderr=True)
    if registry.is_kept(serial):
        terminal.print(f"{serial} runs already")
        return
    facts = launch.start(serial, seconds=_START_SECONDS, progress=terminal.print)
    typer.echo(f"{serial} is on (QEMU process {facts['qemu_pid']}, SSH port {facts['ssh_port']})")
    typer.echo(f"stop it with: trustbox emulator stop --serial {serial}")


@app.command()
def stop(
    serial: Annotated[str, typer.Option(help="Which box.")] = "",
    every: Annotated[bool, typer.Option("--all", help="All boxes that are kept running.")] = False,
) -> None:
    """Switch a kept box off, as a power cut does. Its disk stays."""
    serials = [serial] if serial else registry.kept()
    if (every and serial) or (not every and len(serials) > 1):
        raise Misuse("say which box: --serial TB-…, or --all of them")
    for one in serials:
        launch.stop(one, by=Deadline.after(_STOP_SECONDS))
        typer.echo(f"{one} is off")


@app.command("list")
def list_boxes(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
) -> None:
    """The boxes that are kept running."""
    found = [registry.ask(one, "info", by=Deadline.after(10)) for one in registry.kept()]
    if as_json:
        typer.echo(json.dumps(found))
        return
    for box in found:
        state = f"died: {box['died']}" if box["died"] else "on" if box["on"] else "off"
        minutes = (time.time() - box["since"]) / 60
        typer.echo(f"{box['serial']}  {state}  SSH port {box['ssh_port']}  {minutes:.0f} min")
    if not found:
        typer.echo("no box is kept running")


@app.command()
def console(
    serial: Serial = DEFAULT_SERIAL,
    secure: Annotated[bool, typer.Option("--secure", help="The secure world's UART.")] = False,
) -> None:
    """The serial console of a box that is kept running. Ctrl-] leaves."""
    world = World.SECURE if secure else World.NORMAL
    request = {"do": "console", "world": world.value, "backlog": True}
    sock, _ = registry.connect(serial, request, by=Deadline.after(10))
    with sock:
        talk(sock)
