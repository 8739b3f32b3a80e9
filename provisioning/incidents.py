"""What a station saw once of a box and cannot see again: kept until a person has looked into it.

OP-TEE takes away an object that it cannot read, when it first meets it: who looks a second time
sees a blank token and no error. So the first sight is put on the disk::

    <state>/incidents/<serial>/<time>.json      0600, one file for each sight
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.errors import IntegrityFailure
from harness.shown import printable
from harness.target import Target
from harness.tee_trouble import StorageDamaged
from provisioning.journal import now
from provisioning.private_files import private_directory, write_durably
from provisioning.station import Station

_LONGEST = 300
_MOST = 1000
"""Files of one box; who looks at a damaged box in a loop must not fill the disk."""


def directory(station: Station, serial: str) -> Path:
    """Where those of one box are. A person who has looked into them moves it away."""
    return station.state / "incidents" / serial


def keep(station: Station, target: Target) -> Path | None:
    """Put damage of the TEE's storage that opening the box met on the disk; the file, or None.

    Raises Misuse and RigError when that cannot be written.
    """
    damaged = next((p for p in target.unknown.values() if isinstance(p, StorageDamaged)), None)
    if damaged is None:
        return None
    private_directory(station.state)
    private_directory(station.state / "incidents")
    there = private_directory(directory(station, target.serial))
    if len(list(there.glob("*.json"))) >= _MOST:
        return None
    at = now()
    path = there / f"{at.replace(':', '')}.json"
    text = {"at": at, "serial": target.serial, "target": target.name, "said": damaged.message}
    write_durably(path, json.dumps(text, indent=1).encode() + b"\n")
    return path


def seen(station: Station, serial: str) -> tuple[str, ...]:
    """A clause for each, oldest first; one that cannot be read is an incident all the same."""
    return tuple(_said(path) for path in sorted(directory(station, serial).glob("*.json")))


def first_seen(station: Station, serial: str) -> str:
    """The first sight in a clause, for a sentence about a token that is not there; "": none."""
    found = seen(station, serial)
    return f"; {found[0]}" if found else ""


def demand_none(station: Station, serial: str, *, but: str) -> None:
    """Raises IntegrityFailure while there is one. ``but`` is what is seen now, a clause."""
    if found := seen(station, serial):
        raise IntegrityFailure(
            f"{serial}: {but}, but {found[0]}",
            hint="What was in it is lost, and nothing was made. Find out why, and revoke what was"
            " certified for it. When that is done, move"
            f" {directory(station, serial)} away and run the command again.",
        )


def _said(path: Path) -> str:
    try:
        found = json.loads(path.read_text())
        at, said = str(found["at"]), str(found["said"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"what this station saw of it once is in {path}, which cannot be read"
    return printable(f"this station saw on {at}: {said}")[:_LONGEST]
