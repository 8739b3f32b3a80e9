"""Retry-After is read with care, and waited for against one deadline."""

from __future__ import annotations

import datetime
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.deadline import Deadline
from harness.errors import DeadlineExpired
from provisioning.est_wire import body_octets, plain_text, request_body
from provisioning.http_waiting import LONGEST, backoff, pause, retry_after

NOW = datetime.datetime(2026, 1, 1, 12, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0), (" 7 ", 7), ("3600", 3600), ("1000000000", LONGEST), ("9" * 400, LONGEST),
        ("Thu, 01 Jan 2026 12:01:00 GMT", 60), ("Thu, 01 Jan 2026 11:00:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST), ("", None), ("-5", None), ("1.5", None),
        ("soon", None), ("\u0661", None), ("Thu, 99 Jan 2026 12:01:00 GMT", None),
        ("Thu, 01 Jan 2026 00:00:00 +9999999999999999", None),
    ],
)  # fmt: skip
def test_retry_after_is_seconds_a_date_or_nothing(value: str, seconds: float | None) -> None:
    assert retry_after(value, now=NOW) == seconds


@given(st.text(max_size=60))
def test_retry_after_of_any_text_is_harmless(value: str) -> None:
    found = retry_after(value, now=NOW)

    assert found is None or 0 <= found <= LONGEST


@given(st.integers(1, 200))
def test_backoff_grows_to_half_a_minute_and_no_further(attempt: int) -> None:
    longest = min(2.0 ** (attempt - 1), 30.0)

    assert longest / 2 <= backoff(attempt) <= longest


def test_pause_beyond_the_deadline_ends_with_it_and_says_for_what() -> None:
    began = time.monotonic()
    with pytest.raises(DeadlineExpired, match="a miracle"):
        pause(60, "a miracle", by=Deadline.after(0.05))

    assert time.monotonic() - began < 10


@given(st.binary(min_size=1, max_size=5000))
def test_request_of_any_octets_reads_back_and_has_lines_of_64(octets: bytes) -> None:
    body = request_body(octets)

    assert body_octets(body, "it") == octets
    assert body.endswith(b"\n")
    assert max(map(len, body.splitlines())) <= 64


@given(st.binary(max_size=3000))
def test_text_of_a_stranger_is_short_and_printable(octets: bytes) -> None:
    text = plain_text(octets)

    assert text == "" or text.isprintable()
    assert len(text) <= 200
