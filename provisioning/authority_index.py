"""The CA's index: every certificate and CRL that it signed. One SQLite file, 0600.

A row is there before the signature is asked for and complete when it returns, so that nothing is
signed that the index does not know.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from harness.errors import Misuse
from provisioning import authority_schema
from provisioning.authority_entry import COLUMNS, Entry, NewRow
from provisioning.certificates import der
from provisioning.journal import now


@dataclass(frozen=True, slots=True)
class KeptCrl:
    """A CRL number that was given out. ``der`` None: no CRL of it was kept."""

    issuer: str
    number: int
    der: bytes | None


class Index:
    """Opens its file for each question: nothing is held, and every answer is what is on the disk.

    Only ``create`` makes the file. Raises Misuse when it is not there or cannot be used. Writers
    hold the CA's lock. Serial numbers of boxes that differ in letters' case alone are one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """Whether there is a file that could be one: an empty one is a lost one."""
        return self.path.is_file() and self.path.stat().st_size > 0

    def create(self) -> None:
        """An empty one, where there is none."""
        authority_schema.create(self.path)

    def begin(self, row: NewRow) -> None:
        """Before the signature. A serial number that is in use is refused: it must never repeat."""
        replaces = None if row.replaces is None else f"{row.replaces:x}"
        self._do(
            "INSERT INTO certificate (number, role, device, spki, begun, replaces, run)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (f"{row.number:x}", row.role, row.device, row.spki, now(), replaces, row.run),
        )

    def finish(self, made: x509.Certificate) -> None:
        """After the signature. The row of its ``begin`` must be there."""
        done = self._do(
            "UPDATE certificate SET issued = ?, der = ? WHERE number = ? AND der IS NULL",
            (now(), der(made), f"{made.serial_number:x}"),
        )
        if done != 1:
            raise Misuse(f"{self.path} has no open entry for {made.serial_number:x}")

    def revoke(self, number: int, reason: str, at: datetime) -> None:
        """``at`` is kept where it was revoked before: only the reason is another one then."""
        self._do(
            "UPDATE certificate SET revoked = coalesce(revoked, ?), reason = ? WHERE number = ?",
            (at.isoformat(), reason, f"{number:x}"),
        )

    def mark_read_back(self, number: int) -> None:
        self._mark("read_back", number, now())

    def mark_superseded(self, number: int) -> None:
        self._mark("superseded", number, now())

    def mark_to_revoke(self, number: int, why: str) -> None:
        """The first reason given stays."""
        self._mark("to_revoke", number, why[:400])

    def next_crl(self, issuer: str) -> int:
        """The next CRL number of the issuer; it is never given out again (RFC 5280 5.2.3)."""
        with authority_schema.opened(self.path) as database:
            last = _last_crl(database, issuer)
            database.execute(
                "INSERT INTO crl (issuer, number, begun) VALUES (?, ?, ?)",
                (issuer, last + 1, now()),
            )
        return last + 1

    def keep_crl(self, issuer: str, number: int, made: x509.CertificateRevocationList) -> None:
        """The CRL of a number that ``next_crl`` gave, before it is published."""
        octets = made.public_bytes(serialization.Encoding.DER)
        self._do("UPDATE crl SET der = ? WHERE issuer = ? AND number = ?", (octets, issuer, number))

    def last_crl(self, issuer: str) -> int:
        """The highest CRL number that was given out; 0 for none."""
        with authority_schema.opened(self.path) as database:
            return _last_crl(database, issuer)

    def crl(self, issuer: str, number: int) -> bytes | None:
        """DER of the CRL of that number, if it was kept."""
        with authority_schema.opened(self.path) as database:
            found = database.execute(
                "SELECT der FROM crl WHERE issuer = ? AND number = ?", (issuer, number)
            ).fetchone()
        return found["der"] if found else None

    def crls(self) -> tuple[KeptCrl, ...]:
        with authority_schema.opened(self.path) as database:
            rows = database.execute("SELECT issuer, number, der FROM crl").fetchall()
        return tuple(KeptCrl(row["issuer"], row["number"], row["der"]) for row in rows)

    def restore(self, entries: Iterable[Entry], crls: Iterable[KeptCrl]) -> None:
        """All of it in one change, oldest first, into an index that was just made."""
        places = ", ".join("?" * len(COLUMNS.split(",")))
        with authority_schema.opened(self.path) as database:
            database.executemany(
                f"INSERT INTO certificate ({COLUMNS}) VALUES ({places})",  # noqa: S608
                [entry.row() for entry in entries],
            )
            database.executemany(
                "INSERT INTO crl (issuer, number, begun, der) VALUES (?, ?, ?, ?)",
                [(crl.issuer, crl.number, now(), crl.der) for crl in crls],
            )

    def all(self) -> tuple[Entry, ...]:
        """Newest first."""
        return self._entries("number = number")

    def get(self, number: int) -> Entry | None:
        return next(iter(self._entries("number = ?", f"{number:x}")), None)

    def of_key(self, spki: str) -> tuple[Entry, ...]:
        """All of one key, newest first."""
        return self._entries("spki = ?", spki)

    def of_device(self, serial: str) -> tuple[Entry, ...]:
        """All of one box, newest first."""
        return self._entries("role = 'device' AND lower(device) = lower(?)", serial)

    def of_role(self, role: str) -> tuple[Entry, ...]:
        """All of one role, newest first."""
        return self._entries("role = ?", role)

    def revoked(self, role: str) -> tuple[Entry, ...]:
        return self._entries("revoked IS NOT NULL AND role = ?", role)

    def revoked_numbers(self, role: str) -> frozenset[int]:
        """As ``revoked``, without reading the certificates: there may be many."""
        asked = "SELECT number FROM certificate WHERE revoked IS NOT NULL AND role = ?"
        with authority_schema.opened(self.path) as database:
            rows = database.execute(asked, (role,)).fetchall()
        with self._whole():
            return frozenset(int(row["number"], 16) for row in rows)

    def to_revoke(self) -> tuple[Entry, ...]:
        """Boxes' certificates that somebody has to revoke."""
        return self._entries("role = 'device' AND revoked IS NULL AND to_revoke IS NOT NULL")

    def unfinished(self) -> tuple[Entry, ...]:
        """Boxes' certificates that were begun or issued, and not read back from the box."""
        return self._entries(
            "role = 'device' AND revoked IS NULL AND to_revoke IS NULL AND superseded IS NULL"
            " AND (read_back IS NULL OR der IS NULL)"
        )

    def twice(self) -> tuple[str, ...]:
        """Serial numbers, in small letters, that may have good certificates of more than one key,
        or be written in more than one way.
        """
        with authority_schema.opened(self.path) as database:
            found = database.execute(
                "SELECT lower(device) AS serial FROM certificate WHERE role = 'device'"
                " AND der IS NOT NULL AND revoked IS NULL AND to_revoke IS NULL"
                " AND superseded IS NULL"
                " GROUP BY serial HAVING count(DISTINCT spki) > 1 OR count(DISTINCT device) > 1"
                " ORDER BY serial"
            ).fetchall()
        return tuple(row["serial"] for row in found)

    def counts(self) -> dict[str, int]:
        """Of the boxes' certificates: how many were issued, were revoked, are to be revoked, and
        were begun or issued but not read back from the box.
        """
        with authority_schema.opened(self.path) as database:
            issued, revoked = database.execute(
                "SELECT count(issued), count(revoked) FROM certificate WHERE role = 'device'"
            ).fetchone()
        waiting, open_ = len(self.to_revoke()), len(self.unfinished())
        return {"issued": issued, "revoked": revoked, "to_revoke": waiting, "unfinished": open_}

    def _mark(self, column: str, number: int, value: str) -> None:
        # ``column`` is one of the constants above, never anybody's input.
        self._do(
            f"UPDATE certificate SET {column} = ? WHERE number = ? AND {column} IS NULL",  # noqa: S608
            (value, f"{number:x}"),
        )

    def _do(self, statement: str, values: tuple[str | int | bytes | None, ...]) -> int:
        """How many rows were changed."""
        with authority_schema.opened(self.path) as database:
            return database.execute(statement, values).rowcount

    def _entries(self, where: str, *values: str) -> tuple[Entry, ...]:
        # ``where`` is one of the constants above, never anybody's input.
        question = f"SELECT {COLUMNS} FROM certificate WHERE {where} ORDER BY rowid DESC"  # noqa: S608
        with authority_schema.opened(self.path) as database:
            rows = database.execute(question, values).fetchall()
        with self._whole():
            return tuple(Entry.of(row) for row in rows)

    @contextmanager
    def _whole(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError) as problem:
            raise Misuse(
                f"{self.path} is damaged: an entry of it cannot be read ({problem})",
                hint=f"Bring back its newest copy. If that is gone: {authority_schema.RECOVER}",
            ) from problem


def _last_crl(database: sqlite3.Connection, issuer: str) -> int:
    asked = "SELECT coalesce(max(number), 0) FROM crl WHERE issuer = ?"
    return int(database.execute(asked, (issuer,)).fetchone()[0])
