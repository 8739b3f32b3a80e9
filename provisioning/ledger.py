"""What is written down about things that change a box: meant before they are done, ended after.

Runs, the CA's ceremony and the commands that cannot be undone know a ``Ledger`` only. Today that
is a journal, a file beside the record; a database can take its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

Facts = Mapping[str, object]
"""For JSON, by name: what a later look needs to know. Never a secret."""


class Attempt(Protocol):
    """Something that was begun. It has one end; without one it was cut short."""

    def done(self, said: str, facts: Facts | None = None) -> None:
        """It was done, and confirmed. Durable when this returns."""
        ...

    def failed(self, said: str, facts: Facts | None = None) -> None:
        """It was not done, or nobody knows how far it came; ``said`` is why."""
        ...


class Ledger(Protocol):
    """Every method is durable when it returns. Raises Misuse and DiskFailed: then nothing may be
    done that was to be written down.
    """

    def begin(self, step: str, doing: str, facts: Facts | None = None) -> Attempt:
        """The intent, before anything is done. ``step`` names what is done, and to what."""
        ...

    def end(self, step: str, outcome: str, said: str, facts: Facts | None = None) -> None:
        """How a step ended (done, already, checked, parked, failed), begun or not."""
        ...
