"""What the local provisioning service remembers: enrollments and registrations, in one SQLite file.

Several processes of one station may have it open; each change is whole or not there.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import RigError
from provisioning.file_trouble import refused_database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS enrollment (
    kind TEXT NOT NULL CHECK (kind IN ('group', 'individual')),
    id TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    body TEXT NOT NULL,
    etag TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;
CREATE TABLE IF NOT EXISTS registration (
    device TEXT PRIMARY KEY,
    operation TEXT NOT NULL,
    polls_left INTEGER NOT NULL,
    state TEXT NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """One enrollment, with its certificate's digest (hexadecimal) and what was sent."""

    id: str
    group: bool
    sha256: str
    body: dict[str, object]
    etag: str

    @property
    def enabled(self) -> bool:
        return self.body.get("provisioningStatus") == "enabled"


@dataclass(frozen=True, slots=True)
class Registration:
    """A device that registered, and the polls until it is assigned (negative: for ever)."""

    operation: str
    polls_left: int
    state: dict[str, object]


class DpsStore:
    """``path`` None: in memory, for as long as this lives. Threads take turns."""

    def __init__(self, path: Path | None = None, *, seconds: float = 10.0) -> None:
        """Raises what every method does: DiskFailed when its disk is full, read-only or broken,
        Misuse for a path that cannot be used, RigError for a file that is damaged, or that another
        program holds for longer than ``seconds``. What was there then is as it was.
        """
        self._path, self._lock = path or Path(":memory:"), threading.Lock()
        with self._told():
            if path is not None:  # SQLite gives its journal the mode of the database
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._database = sqlite3.connect(
                path or ":memory:", timeout=seconds, check_same_thread=False, isolation_level=None
            )
            try:
                self._database.executescript(_SCHEMA)
            except sqlite3.Error:
                self._database.close()
                raise

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def enrollment(self, group: bool, id: str) -> Kept | None:
        return next(self._kept("kind = ? AND id = ?", _kind(group), id), None)

    def all(self, *, group: bool) -> tuple[Kept, ...]:
        return tuple(self._kept("kind = ?", _kind(group)))

    def keep(self, kept: Kept, *, was: Kept | None) -> bool:
        """In the place of ``was``; False, and nothing happens, when that is there no more or, where
        there was none, there is one now.
        """
        values: tuple[str, ...] = (
            *(kept.sha256, json.dumps(kept.body), kept.etag),
            *(_kind(kept.group), kept.id),
        )
        if was is None:
            do = (
                "INSERT OR IGNORE INTO enrollment (sha256, body, etag, kind, id)"
                " VALUES (?, ?, ?, ?, ?)"
            )
        else:
            do = (
                "UPDATE enrollment SET sha256 = ?, body = ?, etag = ?"
                " WHERE kind = ? AND id = ? AND etag = ?"
            )
            values = (*values, was.etag)
        with self._do() as database:
            return database.execute(do, values).rowcount == 1

    def forget(self, was: Kept) -> bool:
        """False when it is there no more, or another one."""
        with self._do() as database:
            gone = database.execute(
                "DELETE FROM enrollment WHERE kind = ? AND id = ? AND etag = ?",
                (_kind(was.group), was.id, was.etag),
            )
            return gone.rowcount == 1

    def registration(self, device: str) -> Registration | None:
        with self._do() as database:
            row = database.execute(
                "SELECT operation, polls_left, state FROM registration WHERE device = ?", (device,)
            ).fetchone()
        return None if row is None else Registration(row[0], row[1], json.loads(row[2]))

    def registrations(self) -> tuple[Registration, ...]:
        with self._do() as database:
            rows = database.execute(
                "SELECT operation, polls_left, state FROM registration ORDER BY device"
            ).fetchall()
        return tuple(Registration(row[0], row[1], json.loads(row[2])) for row in rows)

    def forget_registration(self, device: str) -> None:
        with self._do() as database:
            database.execute("DELETE FROM registration WHERE device = ?", (device,))

    def register(self, device: str, found: Registration) -> None:
        with self._do() as database:
            database.execute(
                "INSERT OR REPLACE INTO registration VALUES (?, ?, ?, ?)",
                (device, found.operation, found.polls_left, json.dumps(found.state)),
            )

    def _kept(self, where: str, *values: str) -> Iterator[Kept]:
        # ``where`` is one of the constants above, never anybody's input.
        question = f"SELECT id, kind, sha256, body, etag FROM enrollment WHERE {where} ORDER BY id"  # noqa: S608
        with self._do() as database:
            rows = database.execute(question, values).fetchall()
        for id, kind, sha256, body, etag in rows:
            yield Kept(id, kind == "group", sha256, json.loads(body), etag)

    @contextmanager
    def _do(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._told():
            yield self._database

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What SQLite or the system says about the file, in words for who can change it."""
        try:
            yield
        except (OSError, sqlite3.Error) as problem:
            raise refused_database(self._path, problem) or RigError(
                f"{self._path}, which keeps enrollments and registrations, cannot be used:"
                f" {problem}",
                hint="Another program holds it, or it is damaged. If it is: mv it away and run this"
                " again. The CA's group comes back by itself, boxes register anew, and other"
                " enrollments have to be made again (trustbox dps enroll).",
            ) from problem


def _kind(group: bool) -> str:
    return "group" if group else "individual"
