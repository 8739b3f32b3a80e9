"""The lock on a CA: nobody else signs or writes its index meanwhile, in whatever process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.locks import locked as file_locked


@contextmanager
def locked(ca: Path, by: Deadline) -> Iterator[None]:
    """Held until the block ends. ``ca``: the CA's directory, which is not made here.

    Raises DeadlineExpired, and Misuse when there is no such directory or it cannot be written.
    """
    if not ca.is_dir():
        hint = "Is --state right? trustbox ca init makes one."
        raise Misuse(f"there is no CA in {ca}", hint=hint)
    with file_locked(ca / "lock", "the lock on the factory's CA", by=by):
        yield
