"""The CA's index: every certificate and CRL that it signed. One SQLite file, 0600.

A row is there before the signature is asked for and complete when it returns, so that nothing is
signed that the index does not know. SQLite's own journal makes each change whole or not at all,
and with ``synchronous=FULL`` it lasts over a power cut.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID

from harness.errors import Misuse
from provisioning.certificates import der
from provisioning.journal import now

_SCHEMA = """
CREATE TABLE IF NOT EXISTS certificate (
    number TEXT PRIMARY KEY,
    role TEXT NOT NULL CHECK (role IN ('root', 'issuing', 'device')),
    device TEXT NOT NULL,
    spki TEXT NOT NULL,
    begun TEXT NOT NULL,
    issued TEXT,
    der BLOB,
    revoked TEXT,
    reason TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS certificate_by_key ON certificate (spki, role);
CREATE INDEX IF NOT EXISTS certificate_by_device ON certificate (device);
CREATE TABLE IF NOT EXISTS crl (
    issuer TEXT NOT NULL,
    number INTEGER NOT NULL,
    begun TEXT NOT NULL,
    PRIMARY KEY (issuer, number)
) STRICT;
"""
_COLUMNS = "number, role, device, spki, begun, issued, der, revoked, reason"


@dataclass(frozen=True, slots=True)
class Entry:
    """One certificate. ``certificate`` is None when signing was begun and never finished."""

    number: int
    role: str
    device: str
    spki: str
    begun: str
    issued: str | None
    certificate: x509.Certificate | None
    revoked: datetime | None
    reason: str | None

    def to_dict(self) -> dict[str, object]:
        found = self.certificate
        return {
            "number": f"{self.number:x}",
            "role": self.role,
            "device": self.device,
            "spki_sha256": self.spki,
            "issued": self.issued,
            "not_after": found.not_valid_after_utc.isoformat() if found else None,
            "revoked": self.revoked.isoformat() if self.revoked else None,
            "reason": self.reason,
        }


class Index:
    """Opens its file for each question: nothing is held, and every answer is what is on the disk.

    Raises Misuse when the file cannot be used. Writers hold the CA's lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self, number: int, *, role: str, device: str, spki: str) -> None:
        """Before the signature. A serial number that is in use is refused: it must never repeat."""
        with self._opened() as database:
            database.execute(
                "INSERT INTO certificate (number, role, device, spki, begun)"
                " VALUES (?, ?, ?, ?, ?)",
                (f"{number:x}", role, device, spki, now()),
            )

    def finish(self, made: x509.Certificate) -> None:
        """After the signature. The row of its ``begin`` must be there."""
        with self._opened() as database:
            done = database.execute(
                "UPDATE certificate SET issued = ?, der = ? WHERE number = ? AND der IS NULL",
                (now(), der(made), f"{made.serial_number:x}"),
            )
            if done.rowcount != 1:
                raise Misuse(f"{self._path} has no open entry for {made.serial_number:x}")

    def adopt(self, found: x509.Certificate, role: str) -> None:
        """A certificate that was signed before there was an index. Doing it again does nothing."""
        names = found.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)
        device = str(names[0].value) if role == "device" and names else ""
        encoded = found.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        known = self.get(found.serial_number)
        if known is None:
            digest = hashlib.sha256(encoded).hexdigest()
            self.begin(found.serial_number, role=role, device=device, spki=digest)
        if known is None or known.certificate is None:
            self.finish(found)

    def revoke(self, number: int, reason: str, at: datetime) -> None:
        with self._opened() as database:
            database.execute(
                "UPDATE certificate SET revoked = ?, reason = ? WHERE number = ?"
                " AND revoked IS NULL",
                (at.isoformat(), reason, f"{number:x}"),
            )

    def next_crl(self, issuer: str) -> int:
        """The next CRL number of the issuer; it is never given out again (RFC 5280 5.2.3)."""
        with self._opened() as database:
            last = database.execute(
                "SELECT coalesce(max(number), 0) FROM crl WHERE issuer = ?", (issuer,)
            ).fetchone()[0]
            database.execute("INSERT INTO crl VALUES (?, ?, ?)", (issuer, last + 1, now()))
        return int(last) + 1

    def get(self, number: int) -> Entry | None:
        return next(self._entries("number = ?", f"{number:x}"), None)

    def of_key(self, spki: str) -> tuple[Entry, ...]:
        """All of one key, newest first."""
        return tuple(self._entries("spki = ?", spki))

    def of_device(self, serial: str) -> tuple[Entry, ...]:
        """All of one box, newest first."""
        return tuple(self._entries("device = ?", serial))

    def of_role(self, role: str) -> tuple[Entry, ...]:
        """All of one role, newest first."""
        return tuple(self._entries("role = ?", role))

    def revoked(self, role: str) -> tuple[Entry, ...]:
        return tuple(self._entries("revoked IS NOT NULL AND role = ?", role))

    def counts(self) -> dict[str, int]:
        """Of the boxes' certificates: issued, revoked, and begun but never finished."""
        with self._opened() as database:
            found = database.execute(
                "SELECT count(issued), count(revoked), count(*) - count(issued)"
                " FROM certificate WHERE role = 'device'"
            ).fetchone()
        return dict(zip(("issued", "revoked", "unfinished"), found, strict=True))

    def _entries(self, where: str, *values: str) -> Iterator[Entry]:
        # ``where`` is one of the constants above, never anybody's input.
        question = f"SELECT {_COLUMNS} FROM certificate WHERE {where} ORDER BY rowid DESC"  # noqa: S608
        with self._opened() as database:
            rows = database.execute(question, values).fetchall()
        for number, role, device, spki, begun, issued, encoded, revoked, reason in rows:
            yield Entry(
                number=int(number, 16),
                role=role,
                device=device,
                spki=spki,
                begun=begun,
                issued=issued,
                certificate=x509.load_der_x509_certificate(encoded) if encoded else None,
                revoked=datetime.fromisoformat(revoked) if revoked else None,
                reason=reason,
            )

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            # SQLite gives its journal the mode of the database, which therefore must be made first.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            with closing(sqlite3.connect(self._path, timeout=10)) as database:
                database.execute("PRAGMA synchronous = FULL")
                database.executescript(_SCHEMA)
                with database:
                    yield database
        except (OSError, sqlite3.Error) as problem:
            raise Misuse(
                f"{self._path} cannot be used: {problem}",
                hint="It is the index of what the CA issued: make room, or bring back its backup.",
            ) from problem
