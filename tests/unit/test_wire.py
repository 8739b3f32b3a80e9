"""Logging of what goes over the wire: off by default, boxed when on, never a secret stream's."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from harness.wire import LIBRARY_LOGGER, TRAFFIC, quiet_library, show_traffic, traffic


@pytest.fixture(autouse=True)
def levels_as_before() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("harness", LIBRARY_LOGGER)]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.NOTSET)  # a command that ran here before may have set it
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


def test_bytes_are_not_logged_by_default(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        traffic(logging.getLogger("harness.test"), "->", b"bytes")

    assert caplog.records == []


def test_switching_it_on_warns_in_a_box(caplog: pytest.LogCaptureFixture) -> None:
    show_traffic()

    assert "It may show secret values" in caplog.text


def test_long_bytes_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(TRAFFIC):
        traffic(logging.getLogger("harness.test"), "<-", b"\xab" * 1000)

    assert caplog.records[0].getMessage() == f"<- {'ab' * 256} and 744 more"


def test_the_library_is_quiet_because_its_errors_are_raised_or_retried() -> None:
    logging.getLogger(LIBRARY_LOGGER).setLevel(logging.NOTSET)

    assert not logging.getLogger(quiet_library()).isEnabledFor(logging.CRITICAL)
