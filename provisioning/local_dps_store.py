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

from harness.errors import Misuse, TrustBoxError
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

    def __init__(self, path: Path | None = None) -> None:
        """Raises Misuse when the file cannot be used, DiskFailed (all of its methods) when its
        disk is full, read-only or broken: what was there then is as it was.
        """
        self._lock, self._path = threading.Lock(), path
        try:
            if path is not None:  # SQLite gives its journal the mode of the database
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._database = sqlite3.connect(
                path or ":memory:", timeout=10, check_same_thread=False, isolation_level=None
            )
            self._database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as problem:
            raise self._unusable(problem) from problem

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def enrollment(self, group: bool, id: str) -> Kept | None:
        return next(self._kept("kind = ? AND id = ?", _kind(group), id), None)

    def groups(self) -> tuple[Kept, ...]:
        return tuple(self._kept("kind = 'group'"))

    def keep(self, kept: Kept) -> None:
        with self._do() as database:
            database.execute(
                "INSERT OR REPLACE INTO enrollment VALUES (?, ?, ?, ?, ?)",
                (_kind(kept.group), kept.id, kept.sha256, json.dumps(kept.body), kept.etag),
            )

    def forget(self, group: bool, id: str) -> bool:
        with self._do() as database:
            gone = database.execute(
                "DELETE FROM enrollment WHERE kind = ? AND id = ?", (_kind(group), id)
            )
            return gone.rowcount == 1

    def registration(self, device: str) -> Registration | None:
        with self._do() as database:
            row = database.execute(
                "SELECT operation, polls_left, state FROM registration WHERE device = ?", (device,)
            ).fetchone()
        return None if row is None else Registration(row[0], row[1], json.loads(row[2]))

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
        with self._lock:
            try:
                yield self._database
            except sqlite3.Error as problem:
                raise self._unusable(problem) from problem

    def _unusable(self, problem: OSError | sqlite3.Error) -> TrustBoxError:
        disk = None if self._path is None else refused_database(self._path, problem)
        return disk or Misuse(
            f"{self._path} cannot be used: {problem}",
            hint="It is what the local provisioning service remembers. If it is damaged, move it"
            " away: the next run registers its box again.",
        )


def _kind(group: bool) -> str:
    return "group" if group else "individual"
