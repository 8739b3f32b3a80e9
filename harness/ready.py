"""Which descriptors are ready: select() without its end at descriptor 1023."""

from __future__ import annotations

import math
import select
from collections.abc import Iterable


def readable(descriptors: Iterable[int], seconds: float | None = None) -> set[int]:
    """Those that can be read, or are broken, within ``seconds``; None: as long as it takes."""
    return _ready(descriptors, select.POLLIN, seconds)


def writable(descriptors: Iterable[int], seconds: float | None = None) -> set[int]:
    """Those that can be written, or are broken."""
    return _ready(descriptors, select.POLLOUT, seconds)


def _ready(descriptors: Iterable[int], event: int, seconds: float | None) -> set[int]:
    waiting = select.poll()
    for descriptor in descriptors:
        waiting.register(descriptor, event)
    # Rounded up: a wait of half a millisecond must not become a look in a circle.
    found = waiting.poll(None if seconds is None else math.ceil(seconds * 1000))
    return {descriptor for descriptor, _ in found}
