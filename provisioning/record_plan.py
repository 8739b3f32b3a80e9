"""The plan that a box was provisioned by, which its record holds.

``plan.toml`` beside the record is for people: one that was changed is noticed, one that is of the
run before (its writing was cut) or not there is not missed. Records of earlier versions hold the
plan's digest only: then ``plan.toml`` is needed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from harness.errors import BadInput, IntegrityFailure, Misuse
from provisioning.plan import Plan, parse_plan
from provisioning.record import load, value
from provisioning.station import Station
from provisioning.unfinished import load_unfinished


def recorded(station: Station, serial: str, records: Path | None = None) -> tuple[Path, Plan]:
    """The directory of a box's record, and the plan that it was made by.

    Raises Misuse when there is no record, IntegrityFailure when the plan beside it is another one.
    """
    directory = records or station.records(serial)
    record = load(directory / "record.json")
    if record is None:
        left = load_unfinished(directory, None)
        raise Misuse(
            f"there is no record of {serial} in {directory}{f': {left.told}' if left else ''}",
            hint="Run trustbox provision again: it goes on from what the box shows."
            if left
            else "trustbox provision makes one; --state names the directory of another station.",
        )
    beside = Path(str(value(record, "tool", "plan_beside") or directory))
    text = _plan(record, directory / "plan.toml")
    return directory, parse_plan(text, where=str(directory / "plan.toml"), beside=beside)


def has_plan(directory: Path) -> bool:
    """Whether there is a record, with its plan. Raises BadInput for a record that is none."""
    record = load(directory / "record.json")
    held = value(record, "tool", "plan") is not None
    return record is not None and (held or (directory / "plan.toml").exists())


def _plan(record: Mapping[str, object], place: Path) -> bytes:
    held = value(record, "tool", "plan")
    text = held.encode() if isinstance(held, str) else None
    if text is not None:
        _same(text, record, place)
    try:
        beside = place.read_bytes()
    except OSError as problem:
        if text is not None:
            return text
        raise BadInput(
            where=str(place), key="the file", value=problem.strerror, expected="the record's plan"
        ) from problem
    before = value(record, "tool", "plan_sha256_before")
    if text is None or hashlib.sha256(beside).hexdigest() != before:
        _same(beside, record, place)
    return beside if text is None else text


def _same(text: bytes, record: Mapping[str, object], place: Path) -> None:
    if hashlib.sha256(text).hexdigest() != value(record, "tool", "plan_sha256"):
        raise IntegrityFailure(
            f"{place} is not the plan that the record is of",
            hint="trustbox provision writes both anew; until then the key commands want --pins.",
        )
