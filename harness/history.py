"""What was asked of a box, for the reports: commands and their outcome, never what went in.

stdin, file contents and TEE parameters are not recorded at all: that is how secrets stay out.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: when (monotonic seconds), what, how it ended, and how long it took (seconds)."""

    at: float
    what: str
    outcome: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.what} -> {self.outcome} ({self.seconds:.3f} s)"


@dataclass(frozen=True, slots=True)
class History:
    """The last requests, oldest first; bounded, so that weeks of running do not fill memory."""

    entries: deque[Asked] = field(default_factory=lambda: deque(maxlen=10_000))
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, what: str, outcome: str, *, started: float) -> None:
        """``started`` is time.monotonic() at the beginning of the request."""
        now = time.monotonic()
        with self._lock:
            self.entries.append(Asked(started, what[:500], outcome[:200], now - started))

    def since(self, at: float) -> list[Asked]:
        with self._lock:
            return [entry for entry in self.entries if entry.at >= at]
