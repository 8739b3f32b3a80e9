"""One row of the CA's index: a certificate that was signed, or was going to be."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from provisioning.certificates import der

COLUMNS = (
    "number, role, device, spki, begun, issued, der, revoked, reason,"
    " run, replaces, read_back, superseded, to_revoke"
)
SUPERSEDED = "superseded"
"""The one reason for a revocation that leaves the key good."""


@dataclass(frozen=True, slots=True)
class NewRow:
    """What is known of a certificate before it is signed.

    ``role`` is root, issuing or device; ``device`` the serial number on the box's label, empty for
    a CA; ``spki`` the SHA-256 of its key, hexadecimal; ``replaces`` the number of a certificate of
    another key that it takes the place of; ``run`` names the run that asked for it.
    """

    number: int
    role: str
    device: str
    spki: str
    replaces: int | None = None
    run: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """``certificate`` is None when signing was begun and never finished, and for one of which only
    the number is known (a recovered index). Times are UTC, ISO 8601.
    """

    number: int
    role: str
    device: str
    spki: str
    begun: str
    issued: str | None
    certificate: x509.Certificate | None
    revoked: datetime | None
    reason: str | None
    run: str
    replaces: int | None
    read_back: str | None
    superseded: str | None
    to_revoke: str | None
    """Why it is to be revoked."""

    @classmethod
    def of(cls, row: sqlite3.Row) -> Entry:
        """Raises ValueError or TypeError for a row that nobody here has written."""
        return cls(
            number=int(row["number"], 16),
            role=row["role"],
            device=row["device"],
            spki=row["spki"],
            begun=row["begun"],
            issued=row["issued"],
            certificate=x509.load_der_x509_certificate(row["der"]) if row["der"] else None,
            revoked=datetime.fromisoformat(row["revoked"]) if row["revoked"] else None,
            reason=row["reason"],
            run=row["run"],
            replaces=int(row["replaces"], 16) if row["replaces"] else None,
            read_back=row["read_back"],
            superseded=row["superseded"],
            to_revoke=row["to_revoke"],
        )

    def row(self) -> tuple[str | bytes | None, ...]:
        """As COLUMNS has it."""
        return (
            f"{self.number:x}",
            self.role,
            self.device,
            self.spki,
            self.begun,
            self.issued,
            der(self.certificate) if self.certificate else None,
            self.revoked.isoformat() if self.revoked else None,
            self.reason,
            self.run,
            None if self.replaces is None else f"{self.replaces:x}",
            self.read_back,
            self.superseded,
            self.to_revoke,
        )

    @property
    def status(self) -> str:
        """``revoked``, ``to revoke``, ``superseded``, ``unfinished`` (begun, or issued and not yet
        read back from the box) or ``active``.
        """
        if self.revoked is not None:
            return "revoked"
        if self.to_revoke is not None:
            return "to revoke"
        if self.superseded is not None:
            return SUPERSEDED
        done = self.certificate is not None and self.read_back is not None
        return "active" if done else "unfinished"

    @property
    def over(self) -> bool:
        """Its time has run out."""
        found = self.certificate
        return found is not None and found.not_valid_after_utc <= datetime.now(UTC)

    @property
    def good(self) -> bool:
        """It was issued, its time has not run out, and it is active or not read back yet."""
        counts = self.status in ("active", "unfinished")
        return counts and self.certificate is not None and not self.over

    @property
    def key_is_bad(self) -> bool:
        """It was revoked for a reason that goes for its key, and so for all certificates of it."""
        return self.revoked is not None and self.reason != SUPERSEDED

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        found = self.certificate
        return {
            "number": f"{self.number:x}",
            "role": self.role,
            "device": self.device,
            "status": self.status,
            "spki_sha256": self.spki,
            "begun": self.begun,
            "issued": self.issued,
            "read_back": self.read_back,
            "not_after": found.not_valid_after_utc.isoformat() if found else None,
            "revoked": self.revoked.isoformat() if self.revoked else None,
            "reason": self.reason,
            "to_revoke": self.to_revoke,
            "replaces": None if self.replaces is None else f"{self.replaces:x}",
            "run": self.run,
        }
