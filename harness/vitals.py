"""Whether the box is alive. Who sees it die reports here; who waits for it looks here.

A wait for an answer must end when the box dies, not when its deadline comes. QEMU's exit is seen by
the rig, a panic by the console reader, and both may come while a shell waits for something else.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from harness.deadline import Deadline
from harness.errors import BoxDied

LAST_LOOK_SECONDS = 1.0
"""So long the last question may take whether anybody is still there, once time has run out."""


class Vitals:
    """Thread-safe. A box is taken for alive until somebody reports its death."""

    def __init__(self, target: str) -> None:
        self.target = target
        self._lock = threading.Lock()
        self._cause: str | None = None
        self._died = threading.Event()
        self._life = 0
        self._wakers: list[Callable[[], None]] = []
        self._examine: Callable[[Deadline], None] | None = None

    def subscribe(self, wake: Callable[[], None]) -> None:
        """``wake`` is called, from the thread that reports, when the box has died; from this one
        when it already has."""
        with self._lock:
            self._wakers.append(wake)
            dead = self._cause is not None
        if dead:
            wake()

    def unsubscribe(self, wake: Callable[[], None]) -> None:
        """No more calls. Unknown: nothing happens."""
        with self._lock:
            if wake in self._wakers:
                self._wakers.remove(wake)

    def report_death(self, line: str) -> None:
        """First report wins: what follows a panic is noise. ``line`` is quoted in the error."""
        with self._lock:
            if self._cause is not None:
                return
            self._cause = line[:500]
            self._died.set()
            wakers = tuple(self._wakers)
        for wake in wakers:
            wake()

    def reset(self) -> None:
        """A new life begins: the rig gives power, or takes the box down on purpose."""
        with self._lock:
            self._cause = None
            self._life += 1
            self._died.clear()

    @property
    def life(self) -> int:
        """Changes with every reset: what was connected to an earlier life is worth nothing now."""
        return self._life

    def settle(self, seconds: float) -> None:
        """Wait that long for a death to be reported: a lost link is often its first sign."""
        self._died.wait(seconds)

    @property
    def examinable(self) -> bool:
        """Whether anybody can look: a rig that sees a death by itself needs no asking."""
        return self._examine is not None

    def examine_by(self, examine: Callable[[Deadline], None]) -> None:
        """``examine`` looks whether the box is still there, and reports its death if it is not.

        It returns when it knows, or when its deadline comes.
        """
        self._examine = examine

    def examine(self, *, by: Deadline | None = None) -> None:
        """Somebody waits in vain. Raises BoxDied when that is because the box is gone: one whose
        plug was pulled says no goodbye, so nobody has heard of it yet.

        Without ``by`` it takes 1 s at most: for who has no time left.
        """
        if self._examine is not None:
            self._examine(by or Deadline.after(LAST_LOOK_SECONDS))
        self.check()

    @property
    def cause(self) -> str | None:
        return self._cause

    def check(self) -> None:
        """Raises BoxDied when the box is known to be dead."""
        with self._lock:
            if self._cause is not None:
                raise BoxDied(self.target, self._cause)
