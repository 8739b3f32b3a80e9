"""Which of a box's keys is its device key: the one that its IDevID is for."""

from __future__ import annotations

from harness.errors import Misuse
from provisioning.record import load, value
from provisioning.station import Station

PURPOSE = "device-id"
"""Of the example plan, and of a box that this station has no record of."""


def device_purpose(station: Station, serial: str) -> str:
    """The device key's purpose: what the plan of the box's record said.

    Raises BadInput for a record that cannot be read.
    """
    found = value(load(station.records(serial) / "record.json"), "key", "purpose")
    return found if isinstance(found, str) else PURPOSE


def check_is_device_key(station: Station, serial: str, purpose: str, *, instead: str) -> None:
    """Raises Misuse for any other key: a box has one IDevID and one file with it, and a second
    certificate there would take the place of its identity. ``instead``: what to do with that key.
    """
    device = device_purpose(station, serial)
    if purpose == device:
        return
    known = (station.records(serial) / "record.json").exists()
    raise Misuse(
        f"{purpose} is not the device key of {serial}, which is {device}; only that one is"
        " certified as the box's identity and installed",
        hint=instead
        if known
        else f"{instead} If the plan's [key] names {purpose}: this station has no record of"
        f" {serial} yet, and trustbox provision makes it.",
    )
