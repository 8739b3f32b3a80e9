"""One table of kind ``emulator``: a box that QEMU holds."""

from __future__ import annotations

from dataclasses import dataclass

from harness.config_table import Table
from harness.serial_number import FORM, is_serial

PROFILES = ("current", "shipped")


@dataclass(frozen=True, slots=True)
class EmulatorConfig:
    """Which box, and which of the images it runs (device-facts 7(c))."""

    name: str
    serial: str
    profile: str = "current"


def read_emulator(table: Table) -> EmulatorConfig:
    """Raises BadInput."""
    found = EmulatorConfig(
        table.name, table.text("serial"), table.choice("profile", PROFILES, PROFILES[0])
    )
    table.finish()
    if not is_serial(found.serial):
        raise table.bad("serial", FORM)
    return found
