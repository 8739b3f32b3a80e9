"""One user at a time for a box's persistent disk."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from harness.errors import RigError


class OwnerLock:
    """The right to a box's persistent disk. Ends with the process, however that ends."""

    def __init__(self, path: Path, serial: str) -> None:
        """Raises RigError, naming the process that has it, when it is taken."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            who = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise RigError(
                f"{serial} is in use by process {who or 'unknown'}",
                hint="End that process, or use another --serial: each is a box of its own.",
            ) from exc
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> OwnerLock:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
