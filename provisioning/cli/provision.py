"""``trustbox provision``: make of a box what a plan says."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.status import Status

from harness.shown import printable_lines
from provisioning.cli.ca_options import read_number
from provisioning.cli.options import AsJson, Lasting, Serial, TargetName, TargetsFile, opened
from provisioning.cli.terminal import for_people, say_line
from provisioning.plan import read_plan
from provisioning.report import as_data, as_text
from provisioning.run import Outcome, StepReport, Watcher
from provisioning.run import provision as run
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep

_SIGNS = {
    Outcome.DONE: "[green]done[/]   ",
    Outcome.ALREADY: "[cyan]already[/]",
    Outcome.CHECKED: "[green]checked[/]",
    Outcome.PARKED: "[yellow]parked[/] ",
    Outcome.FAILED: "[red]failed[/] ",
}


def provision(
    plan: Annotated[Path, typer.Argument(help="A plan (trustbox plan example prints one).")],
    target: TargetName = "emulator",
    serial: Serial = None,
    lasting: Lasting = None,
    config: TargetsFile = None,
    out: Annotated[
        Path | None, typer.Option(help="Directory for this box's record; default: your data.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Where this station keeps CA, PINs and records.")
    ] = None,
    replace: Annotated[
        str | None,
        typer.Option(
            "--replace",
            "--replaces",
            metavar="NUMBER",
            help="Certificate that the box's new key replaces, where it has lost the key of it.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Provision a box: enclave, attestation, token, key, certificate, registration, record.

    Every step looks at the box before it acts, so running it again changes nothing that is so
    already, and is how to go on after a failure, or when a server put it off (exit status 9).
    A box that was certified and whose token is blank, or holds another key, is refused (7): with
    --replace a person says that it gets another key, and which certificate that one replaces.
    """
    wanted, replaces = read_plan(plan), read_number(replace) if replace is not None else None
    station = Station(state.absolute()) if state else Station.default()
    terminal = for_people()
    with terminal.status("opening the box") as status:
        say = Progress(terminal, status)
        with opened(target, serial, config, progress=say.line, lasting=lasting, state=state) as box:
            say.ready(box.serial)
            place = out and out.absolute()
            done = run(box, wanted, station, watcher=say, records=place, replaces=replaces)
    typer.echo(json.dumps(as_data(done)) if as_json else printable_lines(as_text(done)))


class Progress(Watcher):
    """One line for each step, and what is being done right now where stderr is a terminal."""

    def __init__(self, terminal: Console, status: Status) -> None:
        self._terminal, self._status = terminal, status
        self._began = time.monotonic()

    def line(self, said: str) -> None:
        self._terminal.print(printable_lines(said), markup=False, style="dim")

    def ready(self, serial: str) -> None:
        self._terminal.print(f"{serial} is on ({time.monotonic() - self._began:.1f} s)")

    def noticed(self, said: str) -> None:
        say_line(self._terminal, "[yellow]note[/]    ", said)

    def started(self, step: EffectStep | LookStep) -> None:
        self._status.update(step.doing)

    def ended(self, report: StepReport) -> None:
        sign = f"{_SIGNS[report.outcome]} {report.name:12} "
        say_line(self._terminal, sign, f"{report.said} ({report.seconds:.1f} s)")
