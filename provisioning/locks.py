"""Locks among processes: a file each, held by the operating system, so that no death leaves one.

Whoever waits, waits for what is left of a deadline, and says for whom. A lock that cannot be made
(a read-only directory, a full disk) is a sentence that names the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, Misuse, TrustBoxError
from provisioning.file_trouble import refused


@contextmanager
def locked(path: Path, waiting_for: str, *, by: Deadline) -> Iterator[None]:
    """Nobody else is in such a block meanwhile. ``waiting_for`` ends "gave up … waiting for".

    Raises DeadlineExpired, Misuse for a path that cannot be used, DiskFailed.
    """
    expired = DeadlineExpired(waiting_for, by.seconds)
    with _held(path, by.left(waiting_for), expired):
        yield


@contextmanager
def locked_at_once(path: Path, taken: str, *, hint: str = "") -> Iterator[None]:
    """As ``locked``, without waiting: raises Misuse, saying ``taken``, where somebody has it."""
    with _held(path, 0, Misuse(taken, hint=hint)):
        yield


@contextmanager
def _held(path: Path, seconds: float, taken: TrustBoxError) -> Iterator[None]:
    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=seconds)
    except Timeout:  # an OSError, too
        raise taken from None
    except OSError as problem:
        raise refused(path, problem, "locked") from problem
    try:
        yield
    finally:
        lock.release()
