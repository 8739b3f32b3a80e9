"""Retry-After, read with care, and waiting for it against a deadline."""

from __future__ import annotations

import datetime
import random
import threading
from email.utils import parsedate_to_datetime

from harness.deadline import Deadline

LONGEST = 30 * 86400.0
"""Seconds; a server that asks for more (10^9 has been seen in tests) is taken to mean this."""


def retry_after(value: str, *, now: datetime.datetime | None = None) -> float | None:
    """Seconds from a Retry-After header (RFC 9110 10.2.3); None when there is no sense in it.

    A number or an HTTP-date; at most ``LONGEST``. Negative numbers make no sense, a date that is
    past means at once.
    """
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:20]), LONGEST)
    try:
        then = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):  # the last: a zone beyond all zones
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=datetime.UTC)
    ahead = (then - (now or datetime.datetime.now(datetime.UTC))).total_seconds()
    return min(max(ahead, 0.0), LONGEST)


def backoff(attempt: int) -> float:
    """Seconds to wait after the ``attempt``-th failure (from 1): doubling from 1 to 30, jittered.

    Jitter, because a whole line of stations that was told "busy" must not come back at once.
    """
    longest = min(2.0 ** (attempt - 1), 30.0)
    return longest * (0.5 + random.random() / 2)  # noqa: S311 - no secret in it


def pause(seconds: float, waiting_for: str, *, by: Deadline) -> None:
    """Wait. Raises DeadlineExpired, after the deadline's end, when it comes first."""
    threading.Event().wait(by.slice(waiting_for, seconds))
    by.left(waiting_for)
