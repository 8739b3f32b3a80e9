"""One change of the image store at a time, among all processes of a user."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from harness.deadline import Deadline
from harness.errors import BuildFailed, DeadlineExpired

_TELL_EVERY = 10.0


@contextlib.contextmanager
def build_lock(build: Path, by: Deadline, progress: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of the directory ``build``, waiting for whoever has it and saying so.

    It is the kernel's lock on an open file: it goes when its holder dies, however it dies.
    Raises BuildFailed when it is not free before the deadline.
    """
    build.mkdir(parents=True, exist_ok=True)
    lock = FileLock(build / "lock")
    with contextlib.suppress(Timeout):
        lock.acquire(timeout=0)
    while not lock.is_locked:
        progress("another process works on the emulator image; waiting for it")
        try:
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=by.slice("the image build lock", _TELL_EVERY))
        except DeadlineExpired as late:
            raise BuildFailed("build lock", "another process does not let go of it") from late
    try:
        yield
    finally:
        lock.release()
