"""Options that several commands share, and opening the box that they name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.deadline import Deadline
from harness.shown import printable_lines

if TYPE_CHECKING:
    from harness.target import Target

OPEN_SECONDS = 1800.0
"""Opening a box may have to build the emulator's image first."""

TargetName = Annotated[
    str, typer.Option("--target", "-t", help="Which box, by its name in targets.toml.")
]
Serial = Annotated[
    str | None,
    typer.Option(
        help="The box's serial number: TB-…. A bench needs it, and its box must report the same."
    ),
]
Lasting = Annotated[
    str | None,
    typer.Option(
        help="Permit what cannot be undone, for the box with this serial number: TB-…",
        metavar="TB-…",
    ),
]
TargetsFile = Annotated[
    Path | None, typer.Option("--targets", help="A targets.toml to use instead of yours.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


@contextmanager
def opened(
    name: str,
    serial: str | None,
    config: Path | None,
    *,
    progress: Callable[[str], None],
    lasting: str | None = None,
    meanwhile: str = "",
    state: Path | None = None,
) -> Iterator[Target]:
    """The box itself: what is done to it lasts.

    ``meanwhile`` names a module to import while the box is waited for. ``state`` is the station's
    directory, where it is not the usual one: damage of the TEE's storage that opening the box met
    is kept there, as it may be seen only once.
    """
    from harness.targets import open_target  # here, as --help opens no box

    if meanwhile:
        threading.Thread(target=import_module, args=(meanwhile,), daemon=True).start()
    by = Deadline.after(OPEN_SECONDS)
    with open_target(
        name,
        serial=serial,
        lasting=lasting,
        fresh=False,
        by=by,
        config=config,
        progress=progress,
    ) as target:
        if target.unknown:
            _keep_incidents(target, state)
        yield target


def _keep_incidents(target: Target, state: Path | None) -> None:
    from harness.errors import TrustBoxError
    from provisioning.incidents import keep
    from provisioning.station import Station

    try:
        kept = keep(Station(state.absolute()) if state else Station.default(), target)
    except TrustBoxError as problem:  # what was seen is still to be told
        to_stderr(f"what was seen of {target.serial} could not be kept: {problem.message}")
    else:
        if kept is not None:
            to_stderr(f"what was seen of {target.serial} is kept in {kept}")


def to_stderr(line: str) -> None:
    """Progress for people."""
    typer.echo(printable_lines(line), err=True)
