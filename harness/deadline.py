"""Deadlines: the only place that reads the monotonic clock for waiting.

A time-out restarts with every call that takes one, so three calls of five seconds may wait fifteen.
A deadline is a point in time that is handed down: whoever waits, waits for what is left.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from harness.errors import DeadlineExpired


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock (seconds) and how long the whole wait was meant to be."""

    at: float
    seconds: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline ``seconds`` from now."""
        return cls(at=time.monotonic() + seconds, seconds=seconds)

    @property
    def expired(self) -> bool:
        return time.monotonic() >= self.at

    def left(self, waiting_for: str) -> float:
        """Seconds left, always above 0. Raises DeadlineExpired, naming what was waited for."""
        rest = self.at - time.monotonic()
        if rest <= 0:
            raise DeadlineExpired(waiting_for, self.seconds)
        return rest

    def slice(self, waiting_for: str, longest: float) -> float:
        """Seconds left, at most ``longest``: for waits that must look up in between."""
        return min(self.left(waiting_for), longest)

    def sooner(self, seconds: float) -> Deadline:
        """This deadline, or ``seconds`` from now if that comes first."""
        other = Deadline.after(seconds)
        return other if other.at < self.at else self
