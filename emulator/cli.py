"""``trustbox emulator …``: boxes that run between commands, and the image that they run.

::

    trustbox emulator start [--serial TB-…]     switch a box on and keep it running
    trustbox emulator list [--json]             which boxes run
    trustbox emulator console [--secure]        its serial console, with the keyboard; Ctrl-] leaves
    trustbox emulator power on|off|cycle        its plug
    trustbox emulator restore                   back to how it was delivered
    trustbox emulator stop [--serial TB-… | --all]
"""

from __future__ import annotations

import json
import time
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console as Terminal

from emulator import launch, registry
from emulator.bench_entry import toml
from emulator.box_store import check_serial
from emulator.cli_image import Profile, register
from emulator.profiles import CURRENT
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


class Power(Enum):
    """What a relay can do."""

    ON = "on"
    OFF = "off"
    CYCLE = "cycle"


Serial = Annotated[str, typer.Option(help="Serial number: each is a box of its own.")]


@app.command()
def start(
    serial: Serial = DEFAULT_SERIAL,
    profile: Profile = CURRENT.name,
    as_bench: Annotated[
        bool,
        typer.Option(
            "--as-bench",
            help="Present it as a lab bench: SSH port and serial devices that stay over power"
            " cycles. Prints the targets entry for it.",
        ),
    ] = False,
    targets_entry: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the targets entry there instead (--as-bench)."),
    ] = None,
    name: Annotated[str, typer.Option(help="The bench's name in the targets entry.")] = "",
    autoboot_seconds: Annotated[
        int | None,
        typer.Option(min=0, max=60, help="U-Boot's countdown instead of the profile's."),
    ] = None,
) -> None:
    """Switch a box on and keep it running; its disk lasts. Building the image first, if need be.

    \b
    trustbox emulator start --serial TB-EMU-0007
    trustbox emulator start --serial TB-EMU-0007 --as-bench --targets-entry bench.toml
    """
    check_serial(serial)
    if targets_entry is not None and not as_bench:
        raise Misuse("--targets-entry goes with --as-bench")
    terminal = Terminal(stderr=True, soft_wrap=True)
    if registry.is_kept(serial):
        terminal.print(f"{serial} runs already")
        facts = registry.ask(serial, "info", by=Deadline.after(10))
    else:
        facts = launch.start(
            serial,
            seconds=_START_SECONDS,
            profile=profile,
            as_bench=as_bench,
            autoboot_seconds=autoboot_seconds,
            progress=terminal.print,
        )
        terminal.print(
            f"{serial} is on (QEMU process {facts['qemu_pid']}, SSH port {facts['ssh_port']})"
        )
    if as_bench:
        _tell_bench(facts, name or f"bench-{serial.lower()}", targets_entry)
    terminal.print(f"stop it with: trustbox emulator stop --serial {serial}")


def _tell_bench(facts: dict[str, Any], name: str, file: Path | None) -> None:
    if not facts["bench"]:
        raise Misuse(
            f"{facts['serial']} runs, but not as a bench",
            hint=f"trustbox emulator stop --serial {facts['serial']}, then start it again.",
        )
    text = toml(name, facts["bench"])
    if file is None:
        typer.echo(text, nl=False)
        return
    try:
        file.write_text(text)
    except OSError as failed:
        raise Misuse(f"{file} cannot be written: {failed.strerror}") from failed


@app.command()
def power(
    state: Annotated[Power, typer.Argument(help="What to do.")], serial: Serial = DEFAULT_SERIAL
) -> None:
    """Give or cut the power of a kept box, as a relay does: at once, without a goodbye.

    It does not wait for the box to boot. Power that is on already changes nothing, not even for a
    box that has switched itself off. The disk stays.
    """
    by = Deadline.after(_STOP_SECONDS)
    registry.ask(serial, "power", by=by, state=state.value, seconds=_STOP_SECONDS)


@app.command()
def restore(serial: Serial = DEFAULT_SERIAL) -> None:
    """Put a kept box back into the state in which it was delivered, and on: its disk is lost."""
    registry.ask(serial, "restore", by=Deadline.after(_START_SECONDS), seconds=_START_SECONDS)


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
        port = box["bench"]["port"] if box["bench"] else box["ssh_port"]
        how = f"{box['profile']}{', as a bench' if box['bench'] else ''}"
        typer.echo(f"{box['serial']}  {state}  SSH port {port}  {minutes:.0f} min  ({how})")
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
