"""Looking up while a box says nothing: is it still there?

A box whose plug was pulled says no goodbye. Who waits for its answer would wait until the deadline
for nothing, so the rig is asked in between, and once more in the second half of what is left.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from harness.deadline import Deadline
from harness.errors import TrustBoxError
from harness.vitals import Vitals

SILENCE_SECONDS = 5.0


class Lookout:
    """For one wait of one thread, until ``by``."""

    def __init__(self, vitals: Vitals, by: Deadline) -> None:
        self._vitals, self._by = vitals, by
        self._last = False
        self.due = self._following()

    def heard(self) -> None:
        """The box said something: it is there."""
        self._last = False
        self.due = self._following()

    def look(self) -> None:
        """Ask the rig if that is due. Raises BoxDied; what is not known by the deadline is not."""
        if not self.due.expired or self._by.expired:
            return
        self._vitals.examine(by=self._by)
        self.due = self._following()

    def _following(self) -> Deadline:
        """Never after ``by``; the last look is halfway between the one before and that."""
        rest = self._by.at - Deadline.after(0).at
        if self._last or rest <= 0:
            return self._by
        self._last = rest <= 2 * SILENCE_SECONDS
        return self._by.sooner(rest / 2 if self._last else SILENCE_SECONDS)


@contextlib.contextmanager
def looked_for(vitals: Vitals, by: Deadline) -> Iterator[None]:
    """For calls of a library that wait by themselves: another thread looks up meanwhile.

    What it finds ends them, as everybody hears of the box's death who has subscribed to it.
    """
    if not vitals.examinable:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        lookout = Lookout(vitals, by)
        with contextlib.suppress(TrustBoxError):  # the waiting thread has its own deadline
            while not by.expired and not over.wait(max(0.0, lookout.due.at - Deadline.after(0).at)):
                lookout.look()

    threading.Thread(target=watch, name=f"lookout-{vitals.target}", daemon=True).start()
    try:
        yield
    finally:
        over.set()
