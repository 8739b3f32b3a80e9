"""Where the PINs of a box's token come from, by a plan: for a run, and for whoever comes later.

A run keeps its plan beside the box's record, so that the commands that come after it find the same
source; there is no secret in either.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from harness.deadline import Deadline
from harness.errors import BadInput
from provisioning.pin_change import kept_pins
from provisioning.pin_sources import DerivedPins, PinCommand, PinSource
from provisioning.pins import Pins
from provisioning.plan import Plan
from provisioning.record_plan import has_plan, recorded
from provisioning.station import Station

_NAMED = re.compile(r"(.+-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.toml", re.IGNORECASE)
"""As a station names the PINs of one box and TEE (``Station.pins``)."""


@dataclass(frozen=True, slots=True)
class PinFile:
    """A file of the operator's."""

    path: Path

    @property
    def told(self) -> str:
        return f"the file {self.path}"

    def pins(self, serial: str, tee_uuid: UUID | None, *, by: Deadline) -> Pins:
        """Raises BadInput, also for a file that a station named for another box: its PINs would
        use up the tries of this one's token.
        """
        named = _NAMED.fullmatch(self.path.name)
        mine = f"{serial}-{tee_uuid}".lower()
        if named is not None and tee_uuid is not None and named[1].lower() != mine:
            raise BadInput(
                where=str(self.path),
                key="the file's name",
                value=self.path.name,
                expected=f"the PINs of {mine}: it is named for another box, and none was tried",
            )
        return Pins.read(self.path)


@dataclass(frozen=True, slots=True)
class KeptPins:
    """Random ones that this station made and keeps, and the only ones that it can change."""

    path: Path

    @property
    def told(self) -> str:
        return "what this station keeps"

    def pins(self, serial: str, tee_uuid: UUID | None, *, by: Deadline) -> Pins:
        """Raises BadInput, and Misuse while a change of them is pending."""
        return kept_pins(self.path)


def planned_source(
    plan: Plan, station: Station, serial: str, tee_uuid: UUID | None
) -> PinSource | None:
    """What the plan says; None where the station is to keep PINs and has none of this box yet."""
    if plan.pin_command is not None:
        return PinCommand(plan.pin_command)
    if plan.pin_hsm is not None:
        return DerivedPins(plan.pin_hsm, station.state)
    return PinFile(plan.pins) if plan.pins is not None else kept_by(station, serial, tee_uuid)


def recorded_source(
    station: Station, serial: str, label: str, tee_uuid: UUID | None
) -> PinSource | None:
    """What the plan beside the box's record says of its token ``label``; what the station keeps
    where there is no record with its plan, or it is of another token. Raises IntegrityFailure for a
    plan that is not the record's, BadInput for what cannot be read.
    """
    there = station.records(serial)
    if has_plan(there):
        _, plan = recorded(station, serial)
        if plan.token_label == label:
            return planned_source(plan, station, serial, tee_uuid)
    return kept_by(station, serial, tee_uuid)


def kept_by(station: Station, serial: str, tee_uuid: UUID | None) -> KeptPins | None:
    """The station's own file; None where there is none."""
    file = station.pins(serial, tee_uuid) if tee_uuid is not None else None
    return KeptPins(file) if file is not None and file.exists() else None
