"""One end's receiving side: the stream in order, and what lies beyond a gap. Pure."""

from __future__ import annotations

from harness.uart_frames import RANGE, LinkFrame

MOST_AHEAD = 256 * 1024
MOST_RANGES = 8
OFTEN = 8 * 1024
"""Bytes after which an acknowledgement goes out although more is to come."""


class Receiver:
    """Puts DATA frames together; bytes that came twice are given once."""

    def __init__(self) -> None:
        self._expected = 0
        self._ahead: dict[int, bytes] = {}
        self._told = 0
        self.seen = 0
        self.gaps = 0
        """Times that something was missing so far."""
        self.doubled = 0
        """Frames that had come before."""

    @property
    def expected(self) -> int:
        """The offset of the next byte."""
        return self._expected

    def take(self, frame: LinkFrame) -> tuple[bytes, bool]:
        """The bytes that are in order now, and whether the far end should hear of it at once."""
        self.seen = frame.tx
        offset, data = frame.offset, frame.payload
        if offset > self._expected:
            if offset - self._expected <= MOST_AHEAD:
                self.gaps += not self._ahead
                self._ahead.setdefault(offset, data)
            return b"", True
        if offset + len(data) <= self._expected:
            self.doubled += 1
            return b"", True
        parts = [data[self._expected - offset :]]
        self._expected = offset + len(data)
        mended = bool(self._ahead)
        while self._ahead:
            first = min(self._ahead)
            if first > self._expected:
                break
            more = self._ahead.pop(first)
            fresh = more[self._expected - first :]
            parts.append(fresh)
            self._expected += len(fresh)
        return b"".join(parts), mended or frame.push or self._expected - self._told >= OFTEN

    def ranges(self) -> bytes:
        """What lies beyond a gap, as an ACK's payload. Asking counts as telling."""
        self._told = self._expected
        merged: list[tuple[int, int]] = []
        for begin in sorted(self._ahead):
            end = begin + len(self._ahead[begin])
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((begin, end))
        return b"".join(RANGE.pack(*pair) for pair in merged[:MOST_RANGES])
