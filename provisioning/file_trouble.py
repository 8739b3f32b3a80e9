"""What a file system refused, said to whoever can change it. The one place that reads an errno.

A path that cannot be used as it is (no permission, a directory where a file must be, not there) is
the caller's: Misuse, exit status 2. A disk that is full, read-only or broken is this machine's:
DiskFailed, 8, and never held against a box.
"""

from __future__ import annotations

import errno
import os
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import DiskFailed, Misuse, TrustBoxError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_BROKEN = frozenset({errno.EROFS, errno.EIO, errno.ESTALE, errno.ENODEV, errno.ENXIO})
_SPENT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOLCK})


@contextmanager
def on_disk(path: Path, done: str = "written", *, hint: str = "") -> Iterator[None]:
    """Around what reads or writes ``path``: every OSError of it comes out as a sentence.

    ``done`` is what could not be (written, read, made a directory); ``hint`` what to do about a
    path that cannot be used. Raises Misuse and DiskFailed.
    """
    try:
        yield
    except OSError as problem:
        raise refused(path, problem, done, hint=hint) from problem


def refused(
    path: Path, problem: OSError, done: str = "written", *, hint: str = ""
) -> TrustBoxError:
    """The error to raise for what the system said about ``path``."""
    why = problem.strerror or type(problem).__name__
    if problem.errno in _FULL:
        place = shlex.quote(str(_mounted(path)))
        return DiskFailed(
            str(path),
            f"{why} (the disk mounted at {_mounted(path)})",
            done=done,
            hint=f"Make room (df -h {place}; df -i {place}), then run the command again. What was"
            " in the file before is as it was.",
        )
    if problem.errno in _BROKEN:
        return DiskFailed(
            str(path),
            f"{why} (the disk mounted at {_mounted(path)})",
            done=done,
            hint="A disk becomes read-only after an I/O error: look at dmesg. Nothing more was"
            " done; run the command again when it can be written.",
        )
    if problem.errno in _SPENT:
        return DiskFailed(
            str(path), why, done=done, hint="This machine ran short of it: end other programs."
        )
    return Misuse(
        f"{path} cannot be {done}: {why}",
        hint=hint or "Name another place, or change its owner and mode, then run it again.",
    )


def refused_database(path: Path, problem: OSError | sqlite3.Error) -> TrustBoxError | None:
    """What to raise for a database in the file ``path``; None where no disk is to blame for it.

    SQLite has an errno of its own (its Result and Error Codes): a full disk, a failed read or
    write, and a file or journal that it may not write.
    """
    if isinstance(problem, OSError):
        return refused(path, problem)
    code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
    number = {sqlite3.SQLITE_FULL: errno.ENOSPC, sqlite3.SQLITE_IOERR: errno.EIO}.get(code)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN) and is_read_only(path.parent):
        number = errno.EROFS
    return None if number is None else refused(path, OSError(number, os.strerror(number)))


def is_read_only(path: Path) -> bool:
    """Whether the disk takes no writing at all, for whatever reason."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def no_room(path: Path, octets: int = 16384) -> TrustBoxError | None:
    """The error where the disk of ``path`` has not as much room; for programs that do not say."""
    about = os.statvfs(path)
    if about.f_bavail * about.f_frsize >= octets and about.f_favail:
        return None
    return refused(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


def _mounted(path: Path) -> Path:
    """Where the file system begins that the path is on, or would be."""
    place = path.absolute()
    while place != place.parent and not place.is_mount():
        place = place.parent
    return place
