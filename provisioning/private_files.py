"""Files that only their owner may read, written so that a power cut leaves the old or the new."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from harness.errors import BadInput, Misuse


def private_directory(path: Path) -> Path:
    """Make the directory, 0700, if it is not there. Raises Misuse when that is impossible."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise Misuse(f"{path} cannot be made a directory: {problem.strerror}") from problem
    return path


def write_durably(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace the file with exactly ``data`` and ``mode``, on the disk before this returns.

    Raises Misuse when the file system says no (no space, read-only, no permission).
    """
    try:
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
    except OSError as problem:
        raise Misuse(
            f"{path} cannot be written: {problem.strerror}",
            hint="Make room or change the directory, then run the command again.",
        ) from problem


def sync_directory(path: Path) -> None:
    """Make the names in the directory last over a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_private(path: Path) -> bytes:
    """The file's bytes. Raises BadInput when it is not there or others may read or write it."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise BadInput(
                    where=str(path), key="its mode", value=f"{mode:04o}", expected="0600"
                )
            return file.read(65536)
    except OSError as problem:
        raise BadInput(
            where=str(path), key="the file", value=problem.strerror, expected="a readable file"
        ) from problem
