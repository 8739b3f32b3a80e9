"""The file of the CA's index: made once, opened ever after, brought to today's form.

SQLite's own journal makes each change whole or not at all, and with ``synchronous=FULL`` it lasts
over a power cut. ``PRAGMA user_version`` says which form a file has:

- 0: before forms had numbers; what it holds counts as read back from the boxes;
- 2: today's.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from harness.errors import Misuse, TrustBoxError
from provisioning.file_trouble import refused_database
from provisioning.private_files import sync_directory

FORM = 2
RECOVER = "trustbox ca recover makes it anew, from a backup or from CRLs and records."
_CERTIFICATE = """
CREATE TABLE certificate (
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
CREATE INDEX certificate_by_key ON certificate (spki, role);
CREATE TABLE crl (
    issuer TEXT NOT NULL,
    number INTEGER NOT NULL,
    begun TEXT NOT NULL,
    PRIMARY KEY (issuer, number)
) STRICT;
"""
_SINCE_0 = """
ALTER TABLE certificate ADD COLUMN run TEXT NOT NULL DEFAULT '';
ALTER TABLE certificate ADD COLUMN replaces TEXT;
ALTER TABLE certificate ADD COLUMN read_back TEXT;
ALTER TABLE certificate ADD COLUMN superseded TEXT;
ALTER TABLE certificate ADD COLUMN to_revoke TEXT;
ALTER TABLE crl ADD COLUMN der BLOB;
DROP INDEX IF EXISTS certificate_by_device;
CREATE INDEX certificate_by_device ON certificate (lower(device));
UPDATE certificate SET read_back = issued WHERE der IS NOT NULL;
"""


def create(path: Path) -> None:
    """An empty index, 0600, at a place where there is none; whole or not there at all."""
    scratch = path.with_name(f".{path.name}.new")
    try:
        scratch.unlink(missing_ok=True)
        # SQLite gives its journal the mode of the database, which therefore must be made first.
        os.close(os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(scratch)) as database:
            database.execute("PRAGMA synchronous = FULL")
            database.executescript(
                f"BEGIN; {_CERTIFICATE} {_SINCE_0} PRAGMA user_version = {FORM}; COMMIT;"
            )
        os.link(scratch, path)  # refused where somebody else made one meanwhile
        scratch.unlink()
        sync_directory(path.parent)
    except (OSError, sqlite3.Error) as problem:
        raise unusable(path, problem) from problem


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction on an index that is there; it is never made here.

    Raises Misuse when it is not there, is of another form or cannot be used.
    """
    if not path.is_file() or not path.stat().st_size:
        raise Misuse(f"{path} is lost: the index of what the CA signed", hint=RECOVER)
    try:
        there = path.absolute().as_uri() + "?mode=rw"
        with closing(sqlite3.connect(there, timeout=10, uri=True)) as database:
            database.row_factory = sqlite3.Row
            database.execute("PRAGMA synchronous = FULL")
            _bring_up(path, database)
            with database:
                yield database
    except (OSError, sqlite3.Error) as problem:
        raise unusable(path, problem) from problem


def _bring_up(path: Path, database: sqlite3.Connection) -> None:
    form = _form(database)
    if form == 0:
        if not _has_table(database):
            raise Misuse(f"{path} is no index of a CA", hint=RECOVER)
        # Another process may have been faster: the lock is taken before it is looked at again.
        database.execute("BEGIN IMMEDIATE")
        try:
            if _form(database) == 0:
                for statement in _SINCE_0.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {FORM}")
            database.execute("COMMIT")
        except BaseException:
            database.rollback()
            raise
        form = _form(database)
    if form != FORM:
        raise Misuse(
            f"{path} is of form {form}, and this version knows forms up to {FORM}",
            hint="A later version of trustbox made it: go on with that one.",
        )


def _form(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _has_table(database: sqlite3.Connection) -> bool:
    asked = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'certificate'"
    return database.execute(asked).fetchone() is not None


def unusable(path: Path, problem: OSError | sqlite3.Error) -> TrustBoxError:
    return refused_database(path, problem) or Misuse(
        f"{path} cannot be used: {problem}",
        hint=f"It is the index of what the CA signed. If it is damaged, put it aside: {RECOVER}",
    )
