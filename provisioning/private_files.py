"""Files that only their owner may read, written so that a power cut leaves the old or the new."""

from __future__ import annotations

import os
import pwd
import shlex
import stat
import tempfile
from pathlib import Path

from harness.errors import BadInput, DiskFailed, Misuse
from provisioning.file_trouble import on_disk

LARGEST = 65536
"""Octets of a file that holds a secret."""


def private_directory(path: Path) -> Path:
    """The directory, made with its parents (0700, durable in theirs) if it is not there.

    One that is there must be ours or root's, and nobody else may write it: what is kept in it
    could be exchanged. Raises Misuse, naming owner or mode, and DiskFailed.
    """
    with on_disk(path, "made a directory"):
        missing, there = [], path
        while not there.exists():
            missing.append(there)
            there = there.parent
        for place in reversed(missing):
            place.mkdir(mode=0o700, exist_ok=True)
            sync_directory(place.parent)
        about = path.stat()
        if not stat.S_ISDIR(about.st_mode):
            raise NotADirectoryError(20, "Not a directory")
    if about.st_uid not in _trusted():
        raise Misuse(
            f"{path} belongs to {_named(about.st_uid)}, who could exchange what is kept in it",
            hint=f"Name a directory of your own, or: chown {_named(os.geteuid())}"
            f" {shlex.quote(str(path))}",
        )
    if about.st_mode & 0o022:
        raise Misuse(
            f"{path} can be written by others (mode {stat.S_IMODE(about.st_mode):04o}), who could"
            " exchange what is kept in it",
            hint=f"Look whether somebody did, then: chmod go-w {shlex.quote(str(path))}",
        )
    return path


def write_durably(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace the file with exactly ``data`` and ``mode``, on the disk before this returns.

    A device or pipe (/dev/null, /dev/stdout) is written to as it is: one that a file took the place
    of would be gone for every program. What raises leaves the file as it was: Misuse for a path
    that cannot be used, DiskFailed for a disk that is full, read-only or broken.
    """
    with on_disk(path):
        if path.exists() and not path.is_file():
            path.write_bytes(data)
            return
        handle, scratch = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(scratch).replace(path)
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in the directory last over a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_bounded(path: Path, most: int, *, expected: str = "a readable file") -> bytes:
    """The file's octets, ``most`` of them at the utmost; no more is ever read.

    Raises BadInput for a file that cannot be read or is larger (it is not cut: half of it could
    look whole), DiskFailed for a disk that fails.
    """
    return _read(path, most, expected, private=False)


def read_private(path: Path) -> bytes:
    """The octets of a file that holds a secret, ``LARGEST`` at the utmost.

    Raises BadInput when it is not there, is not ours or root's, or others may read or write it.
    """
    return _read(path, LARGEST, "a readable file", private=True)


def _read(path: Path, most: int, expected: str, *, private: bool) -> bytes:
    try:
        with on_disk(path, "read"), path.open("rb") as file:
            about = os.fstat(file.fileno())
            if private and about.st_uid not in _trusted():
                raise BadInput(
                    where=str(path),
                    key="its owner",
                    value=_named(about.st_uid),
                    expected=f"{_named(os.geteuid())} or root",
                )
            if private and about.st_mode & 0o077:
                mode = f"{stat.S_IMODE(about.st_mode):04o}"
                raise BadInput(where=str(path), key="its mode", value=mode, expected="0600")
            found = file.read(most + 1)
    except (BadInput, DiskFailed):
        raise
    except Misuse as problem:
        why = getattr(problem.__cause__, "strerror", None) or problem.message
        raise BadInput(
            where=str(path), key="the file", value=why, expected=expected
        ) from problem.__cause__
    if len(found) > most:
        raise BadInput(
            where=str(path),
            key="its size",
            value=f"more than {most} octets",
            expected=f"at most {most} octets",
        )
    return found


def _trusted() -> frozenset[int]:
    """Who may own what we rely on: whoever could change this process anyway."""
    return frozenset({0, os.geteuid()})


def _named(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
