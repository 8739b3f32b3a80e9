"""The memory of one serial line: its bytes, and when each line of text began. Bounded.

Offsets count all bytes ever recorded, so they stay valid when old bytes are dropped.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from harness.shown import printable
from harness.target import ConsoleLine

MOST_BYTES = 64 * 1024 * 1024
MOST_LINES = 200_000
LONGEST_LINE = 4096


class Recording:
    """Thread-safe. ``changed`` is notified after every append; hold it to wait for more."""

    def __init__(self, *, most_bytes: int = MOST_BYTES, most_lines: int = MOST_LINES) -> None:
        self.changed = threading.Condition()
        self._most_bytes, self._most_lines = most_bytes, most_lines
        self._bytes = bytearray()
        self._base = 0
        self._line_starts: deque[tuple[int, float, float]] = deque()  # offset, first, last byte
        self._at_line_start = True

    @property
    def end(self) -> int:
        """The offset that the next byte will have."""
        with self.changed:
            return self._base + len(self._bytes)

    def append(self, data: bytes) -> None:
        """Record ``data`` as having come now, and wake whoever waits."""
        now = time.monotonic()
        with self.changed:
            start = self._base + len(self._bytes)
            self._bytes += data
            if self._at_line_start:
                self._line_starts.append((start, now, now))
            elif data:
                begun, first, _ = self._line_starts.pop()
                self._line_starts.append((begun, first, now))
            position = data.find(b"\n")
            while 0 <= position < len(data) - 1:
                self._line_starts.append((start + position + 1, now, now))
                position = data.find(b"\n", position + 1)
            self._at_line_start = data.endswith(b"\n")
            self._drop_oldest()
            self.changed.notify_all()

    def since(self, offset: int) -> tuple[int, bytes]:
        """The bytes from ``offset`` on, and the offset of the first one (later, if dropped)."""
        with self.changed:
            begin = max(offset, self._base)
            return begin, bytes(self._bytes[begin - self._base :])

    def transcript(self) -> bytes:
        """All that is kept; says so in its first line when older bytes were dropped."""
        with self.changed:
            return self._dropped_note() + bytes(self._bytes)

    def lines(self, since: float) -> list[ConsoleLine]:
        """Lines of which a byte came at or after ``since``, oldest first, long ones cut."""
        with self.changed:
            found: deque[ConsoleLine] = deque()
            end = self._base + len(self._bytes)
            for start, first, last in reversed(self._line_starts):
                if last < since:
                    break
                found.appendleft(ConsoleLine(first, self._text(start, end)))
                end = start
            if self._base and len(found) == len(self._line_starts) > 0:
                note = self._dropped_note().decode().rstrip()
                found.appendleft(ConsoleLine(found[0].at, note))
        return list(found)

    def _text(self, start: int, end: int) -> str:
        cut = min(end, start + LONGEST_LINE)
        text = self._bytes[start - self._base : cut - self._base].rstrip(b"\r\n")
        shown = printable(text.decode(errors="replace"))
        return shown if cut == end else f"{shown} [{end - cut} more bytes]"

    def _dropped_note(self) -> bytes:
        return b"[%d older bytes were dropped]\n" % self._base if self._base else b""

    def _drop_oldest(self) -> None:
        surplus = max(0, len(self._bytes) - self._most_bytes)
        if len(self._line_starts) > self._most_lines:
            first_kept = self._line_starts[-self._most_lines][0]
            surplus = max(surplus, first_kept - self._base)
        if not surplus:
            return
        del self._bytes[:surplus]
        self._base += surplus
        while len(self._line_starts) > 1 and self._line_starts[1][0] <= self._base:
            self._line_starts.popleft()
        if self._line_starts and self._line_starts[0][0] < self._base:
            self._line_starts[0] = (self._base, *self._line_starts[0][1:])
