"""The plan that a box was provisioned by, which is kept beside its record."""

from __future__ import annotations

import hashlib
from pathlib import Path

from harness.errors import BadInput, IntegrityFailure, Misuse
from provisioning.plan import Plan, parse_plan
from provisioning.record import load, value
from provisioning.station import Station


def recorded(station: Station, serial: str, records: Path | None = None) -> tuple[Path, Plan]:
    """The directory of a box's record, and the plan that it was made by.

    Raises Misuse when there is no record, IntegrityFailure when the plan beside it is another one.
    """
    directory = records or station.records(serial)
    record = load(directory / "record.json") if (directory / "record.json").exists() else None
    if record is None:
        raise Misuse(
            f"there is no record of {serial} in {directory}",
            hint="trustbox provision makes one; --state names the directory of another station.",
        )
    place = directory / "plan.toml"
    try:
        text = place.read_bytes()
    except OSError as problem:
        raise BadInput(
            where=str(place), key="the file", value=problem.strerror, expected="the record's plan"
        ) from problem
    if hashlib.sha256(text).hexdigest() != value(record, "tool", "plan_sha256"):
        raise IntegrityFailure(
            f"{place} is not the plan that the record is of",
            hint="trustbox provision writes both anew; until then the key commands want --pins.",
        )
    beside = Path(str(value(record, "tool", "plan_beside") or directory))
    return directory, parse_plan(text, where=str(place), beside=beside)
