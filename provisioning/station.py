"""What one factory station keeps: its CA, its boxes' PINs, and the records.

::

    <state>/                       0700
        ca/                        root.pem, issuing.pem, issued/
        hsm/                       SoftHSM2's token with the CA's keys, its PINs
        pins/<serial>-<TEE UUID>.toml    0600
        records/<serial>/          record.json, journal.jsonl, device.pem, chain.pem, root.pem
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import platformdirs
from filelock import FileLock, Timeout

from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.authority import Authority, open_authority
from provisioning.private_files import private_directory
from provisioning.softhsm import softhsm_token

_TOKEN = "trustbox-factory"  # noqa: S105 - a token's label


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

    def records(self, serial: str) -> Path:
        return self.state / "records" / serial

    @contextmanager
    def authority(self, *, by: Deadline) -> Iterator[Authority]:
        """The station's CA, ready to sign; made on first use."""
        private_directory(self.state)
        token = softhsm_token(self.state / "hsm", _TOKEN, by=by)
        try:
            yield open_authority(token, self.state / "ca", by=by)
        finally:
            token.close()


@contextmanager
def alone_with(directory: Path, serial: str) -> Iterator[None]:
    """Nobody else writes this record meanwhile. Raises Misuse at once when somebody does."""
    lock = FileLock(private_directory(directory) / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise Misuse(
            f"{serial} is being provisioned by another process",
            hint=f"It holds {directory}; wait until it is done.",
        ) from None
    try:
        yield
    finally:
        lock.release()
