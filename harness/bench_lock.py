"""One process holds a bench at a time.

::

    free ──take──→ held (a file with the owner; its time is the heartbeat)
      ↑              │ release                │ owner dies
      └──────────────┘                        └──→ taken over by who comes next, and logged

A process of this machine is dead when it is gone, of another one when its heartbeat is old. Ages
are measured by the clock of the disk that has the file, so that two machines' clocks may differ.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from harness.bench_lab import get, put
from harness.bench_owner import Owner
from harness.errors import RigError

BEAT_SECONDS = 10.0
DEAD_SECONDS = 60.0
_TURN_SECONDS = 30.0


class BenchHeld(RigError):
    """Somebody else holds the bench. ``owner`` says who; None when the file does not tell."""

    def __init__(self, name: str, owner: Owner | None, path: Path) -> None:
        ours = owner is not None and owner.is_us
        super().__init__(
            f"{name} is held by {owner or 'somebody whose lock cannot be read'}"
            f"{' (this very process)' if ours else ''}",
            hint="A bench is one box: it cannot be opened twice."
            if ours
            else f"Wait for that process, or end it; its lock is {path}. A dead owner's lock is"
            " taken over by itself.",
        )
        self.owner = owner


class BenchLost(BenchHeld):
    """The bench was ours and somebody took it over; ``owner`` None: it was given back since."""

    def __init__(self, name: str, owner: Owner | None, path: Path) -> None:
        super().__init__(name, owner, path)
        self.message = (
            f"{name} was taken over by {owner or 'somebody'}: this process does nothing more to it"
        )
        self.args = (self.message,)
        self.hint = "It was taken for dead, as one that is stopped for long is. Start anew."


class BenchLock:
    """Held from ``take`` until ``release``.

    ``key`` is from ``bench_lab``, ``name`` is for people. ``lost`` is called, from the heartbeat's
    thread, with a sentence when somebody took it away; the bench must not be touched any more then.
    """

    def __init__(
        self,
        directory: Path,
        key: str,
        *,
        name: str = "",
        lost: Callable[[str], None] = lambda why: None,
        beat_seconds: float = BEAT_SECONDS,
        dead_seconds: float = DEAD_SECONDS,
    ) -> None:
        self.name, self.path = name or key, directory / f"{key}.lock"
        self._turn = filelock.FileLock(
            directory / f"{key}.turn", timeout=_TURN_SECONDS, mode=0o666, thread_local=False
        )
        self._lost, self._beat, self._dead = lost, beat_seconds, dead_seconds
        self._mine: Owner | None = None
        self._over, self._gone = threading.Event(), threading.Event()
        self._heart: threading.Thread | None = None
        self._log = logging.getLogger(f"harness.bench.{self.name}")

    def take(self) -> Owner | None:
        """Hold it; returns the dead owner it was taken from, if there was one.

        Raises BenchHeld when a live process has it, RigError when the directory fails.
        """
        with self._turned():
            before, mine = self._standing(), Owner.here(self.name)
            put(self.path, mine.as_dict())
            self._mine = mine
        if before is not None:
            self._log.warning("%s: taken over from %s, who is dead", self.name, before)
        self._over.clear()
        self._gone.clear()
        self._heart = threading.Thread(target=self._keep, name=f"lock-{self.name}", daemon=True)
        self._heart.start()
        return before

    def release(self) -> None:
        """Give it back if it is still ours. Safe to call twice."""
        mine, self._mine = self._mine, None
        if mine is None:
            return
        self._over.set()
        if self._heart is not None:
            self._heart.join()
        with contextlib.suppress(RigError, OSError), self._turned():
            if self._owner() == mine:
                self.path.unlink()

    def check(self) -> None:
        """Raises BenchLost when it is not ours any more, also before the heartbeat has seen that:
        a process that was stopped wakes up in the middle of what it did."""
        if self._mine is None or self._gone.is_set() or self._owner() != self._mine:
            self._gone.set()
            owner = self._owner()
            raise BenchLost(self.name, None if owner == self._mine else owner, self.path)

    def look(self) -> Owner | None:
        """The live owner, None when the bench is free. Raises BenchHeld when nobody can tell."""
        try:
            self._standing()
        except BenchHeld as held:
            if held.owner is None:
                raise
            return held.owner
        return None

    def _standing(self) -> Owner | None:
        """The dead owner whose file stands there. Raises BenchHeld for a live one."""
        values = get(self.path)
        if values is None:
            return None
        owner = Owner.parse(values)
        alive = owner.alive if owner is not None else None
        if alive is None:
            alive = self._age() < self._dead
        if alive:
            raise BenchHeld(self.name, owner, self.path)
        return owner

    def _age(self) -> float:
        """Seconds since the last heartbeat, by the disk's clock alone."""
        try:
            with tempfile.NamedTemporaryFile(dir=self.path.parent, prefix=".clock-") as probe:
                now = os.fstat(probe.fileno()).st_mtime
            return now - self.path.stat(follow_symlinks=False).st_mtime
        except FileNotFoundError:
            return self._dead  # it was released in between
        except OSError as problem:
            raise RigError(f"{self.path} cannot be looked at: {problem.strerror}") from problem

    def _owner(self) -> Owner | None:
        return Owner.parse(get(self.path) or {})

    def _keep(self) -> None:
        while not self._over.wait(self._beat):
            try:
                if self._owner() != self._mine:
                    self._gone.set()
                    self._lost(f"{self.name} was taken over by {self._owner() or 'nobody'}")
                    return
                os.utime(self.path, follow_symlinks=False)
            except (OSError, RigError) as problem:
                self._log.warning("%s: no heartbeat: %s", self.name, problem)

    @contextlib.contextmanager
    def _turned(self) -> Iterator[None]:
        try:
            with self._turn:
                yield
        except filelock.Timeout as problem:
            raise RigError(f"{self._turn.lock_file} was not free within 30 s") from problem
        except OSError as problem:
            raise RigError(f"{self.path} cannot be locked: {problem.strerror}") from problem
