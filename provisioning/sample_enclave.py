"""The sample enclave's commands in Python: what ``enclaves/sample/sample.h`` promises in C."""

from __future__ import annotations

from uuid import UUID

from harness.deadline import Deadline
from harness.tee import TeeSession
from harness.tee_params import Direction, Memref, Value
from provisioning.tee_answers import octets, value

SAMPLE = UUID("e4a0f3d6-7c1b-4c52-9b8e-5d2f6a7c8b90")

ECHO = 0
COUNTER_INCREMENT = 1
COUNTER_READ = 2
MEASURE_SELF = 3

LARGEST_MEASUREMENT = 32 + 512
"""Bytes: SHA-256 and a signature by an RSA key of at most 4096 bits."""


class SampleEnclave:
    """Says the sample enclave's commands over a session with it. Raises TeeRefused."""

    def __init__(self, session: TeeSession) -> None:
        self._session = session

    def echo(self, data: bytes, *, by: Deadline) -> bytes:
        """The same bytes, by way of the secure world."""
        result = self._session.invoke(
            ECHO, Memref(data, Direction.IN), Memref(len(data), Direction.OUT), by=by
        )
        result.check("echo")
        return octets(result, 1)

    def increment(self, *, by: Deadline) -> int:
        """Add one to the sealed counter; the new value, which a power cut does not undo."""
        result = self._session.invoke(COUNTER_INCREMENT, Value(0, 0, Direction.OUT), by=by)
        result.check("counting up")
        return value(result, 0)

    def read(self, *, by: Deadline) -> int:
        """The sealed counter's value."""
        result = self._session.invoke(COUNTER_READ, Value(0, 0, Direction.OUT), by=by)
        result.check("reading the counter")
        return value(result, 0)

    def measure_self(self, nonce: bytes, *, by: Deadline, command: int = MEASURE_SELF) -> bytes:
        """SHA-256 of the enclave's code and constants as they are in memory, and the signature."""
        result = self._session.invoke(
            command,
            Memref(nonce, Direction.IN),
            Memref(LARGEST_MEASUREMENT, Direction.OUT),
            by=by,
        )
        result.check("the enclave's self-measurement")
        return octets(result, 1)
