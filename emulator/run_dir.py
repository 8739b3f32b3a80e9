"""Where running boxes keep what must not last: sockets, logs, throwaway disks.

One directory for each held box, below a directory that only this user can enter. Its lock is held
for as long as its harness lives, so a directory whose lock is free is left over and is swept away
at the next start. That is the second net: the reaper normally has removed it by then.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emulator.reaper import reaper
from harness.errors import RigError

_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class RunDir:
    """A directory of ours and the descriptor that holds its lock."""

    path: Path
    _lock: int

    def close(self) -> None:
        """Remove it with all that is in it. Safe to call twice."""
        if not self.path.exists():
            return
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(self._lock)
        reaper().keep(self.path)


def base() -> Path:
    """``trustbox`` in the user's runtime directory, else in a directory for temporary files.

    0700 and this user's own, or RigError: sockets in it give power over boxes.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    path = (
        Path(runtime) / "trustbox"
        if runtime and Path(runtime).is_dir()
        else Path(tempfile.gettempdir()) / f"trustbox-{os.getuid()}"
    )
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
    except OSError as exc:
        raise RigError(f"no directory for running boxes at {path}: {exc.strerror}") from exc
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise RigError(
            f"{path} is not a directory that only you can enter",
            hint="Somebody else may have made it. Remove it, or set XDG_RUNTIME_DIR.",
        )
    return path


def new(name: str) -> RunDir:
    """A run directory, locked and known to the reaper; what others left behind is swept first."""
    home = base()
    with _exclusive(home / "sweep.lock"):
        _sweep(home)
        path = Path(tempfile.mkdtemp(prefix=f"run-{name}-", dir=home))
        reaper().remove(path)
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return RunDir(path, lock)


def sweep() -> None:
    """Remove what harnesses that ended in a hard way left behind."""
    home = base()
    with _exclusive(home / "sweep.lock"):
        _sweep(home)


def _sweep(home: Path) -> None:
    for path in home.glob("run-*"):
        with contextlib.suppress(OSError), _free(path / _LOCK):
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _free(path: Path) -> Iterator[None]:
    """Hold a lock that nobody holds. Raises OSError when somebody does."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Held for milliseconds only, so it waits without a deadline."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
