"""What one factory station keeps: its CA, its boxes' PINs, and the records.

::

    <state>/                       0700
        ca/                        the CA's settings, certificates, CRLs, index (authority_files)
        hsm/ hsm-root/             SoftHSM2's tokens with the CA's keys, where no HSM is named
        pins/<serial>-<TEE UUID>.toml    0600
        pins/budget/               how many wrong PINs each token was given (pin_budget)
        records/<serial>/          record.json, journal.jsonl, device.pem, chain.pem, root.pem
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import platformdirs

from harness.deadline import Deadline
from provisioning.authority import Authority
from provisioning.authority_open import StationCa
from provisioning.locks import locked_at_once
from provisioning.pin_budget import PinBudget
from provisioning.private_files import private_directory


@dataclass(frozen=True, slots=True)
class Station:
    """Directories only; opens nothing until asked."""

    state: Path

    @classmethod
    def default(cls) -> Station:
        """In the user's data directory."""
        return cls(platformdirs.user_data_path("trustbox"))

    def pins(self, serial: str, tee_uuid: UUID) -> Path:
        """The file of one token's PINs. Another TEE behind the same serial is another token."""
        return self.state / "pins" / f"{serial}-{tee_uuid}.toml"

    @property
    def pin_budget(self) -> PinBudget:
        """This station's count of wrong PINs, for every token that it meets."""
        return PinBudget(self.state / "pins" / "budget")

    def records(self, serial: str) -> Path:
        return self.state / "records" / serial

    @contextmanager
    def authority(self, *, make: bool = False, by: Deadline) -> Iterator[Authority]:
        """The station's CA, ready to sign. ``make``, and what is raised: ``StationCa.opened``."""
        with StationCa(self.state).opened(make=make, by=by) as opened:
            yield opened


@contextmanager
def alone_with(directory: Path, serial: str) -> Iterator[None]:
    """Nobody else writes this record meanwhile. Raises Misuse at once when somebody does."""
    with locked_at_once(
        private_directory(directory) / ".lock",
        f"{serial} is being provisioned by another process",
        hint=f"It holds {directory}; wait until it is done.",
    ):
        yield
