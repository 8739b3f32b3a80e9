"""Logging for people at a bench: a level for bytes on the wire, and quiet libraries.

INFO says what became true, DEBUG what was tried, TRAFFIC what went over the wire. Loggers are named
``harness.<part>.<target>``.
"""

from __future__ import annotations

import logging

TRAFFIC = 5
WARNING_BOX = (
    "┌──────────────────────────────────────────────────────────────────────┐\n"
    "│ TRAFFIC logging is on. It may show secret values that pass the wire. │\n"
    "│ Do not use it with production keys, and do not share the log.        │\n"
    "└──────────────────────────────────────────────────────────────────────┘"
)
LIBRARY_LOGGER = "harness.paramiko"
SHOWN_BYTES = 256


def show_traffic() -> None:
    """Switch the TRAFFIC level on for the whole harness, and say in a box what that means."""
    logging.addLevelName(TRAFFIC, "TRAFFIC")
    harness = logging.getLogger("harness")
    harness.setLevel(TRAFFIC)
    logging.getLogger(LIBRARY_LOGGER).setLevel(logging.DEBUG)
    harness.warning("\n%s", WARNING_BOX)


def traffic(log: logging.Logger, direction: str, data: bytes) -> None:
    """Log bytes on the wire, cut to 256; costs nothing when the level is off."""
    if log.isEnabledFor(TRAFFIC):
        more = f" and {len(data) - SHOWN_BYTES} more" if len(data) > SHOWN_BYTES else ""
        log.log(TRAFFIC, "%s %s%s", direction, bytes(data[:SHOWN_BYTES]).hex(), more)


def quiet_library() -> str:
    """The logger name for paramiko: it logs as errors what the harness raises or retries."""
    library = logging.getLogger(LIBRARY_LOGGER)
    if library.level == logging.NOTSET:
        library.setLevel(logging.CRITICAL + 1)
    return LIBRARY_LOGGER
