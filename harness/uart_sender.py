"""One end's sending side: what is not acknowledged is kept, and what is lost is sent again.

A line keeps the order of bytes. So what was sent before a frame that has arrived, and is neither
acknowledged nor reported beyond a gap, is lost: no timer is needed to know. Only the last frames of
all need one. Pure: time comes as an argument (seconds).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from harness.uart_frames import MOST_PAYLOAD

SMALLEST = 128
FIRST_SIZE = 512
CLEAN_RUN = 64
FRAME_COST = 26
FIRST_WAIT, LEAST_WAIT, MOST_WAIT = 0.3, 0.03, 1.5


@dataclass(slots=True)
class Segment:
    """A piece of the stream on its way. ``tx`` 0: not sent yet."""

    offset: int
    data: bytes
    tx: int = 0
    at: float = 0.0
    due: bool = True
    arrived: bool = False
    again: bool = False

    @property
    def cost(self) -> int:
        """Bytes that it takes on the line."""
        return len(self.data) * 8 // 7 + FRAME_COST

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


class Sender:
    """``window``: bytes of the line that may be under way, as many as the far end can swallow."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._queue = bytearray()
        self._segments: deque[Segment] = deque()
        self._next = 0
        self._tx = 0
        self._size = FIRST_SIZE
        self._clean = 0
        self._shrunk_at = 0
        self._round: float | None = None
        self._deviation = 0.0
        self._wait = FIRST_WAIT
        self.resent = 0
        """Frames that were sent again so far."""

    @property
    def waiting(self) -> int:
        """Bytes that were not sent yet."""
        return len(self._queue)

    @property
    def unconfirmed(self) -> bool:
        """Whether something was not sent, or not acknowledged yet."""
        return bool(self._queue or self._segments)

    def put(self, data: bytes) -> None:
        """Append to the stream."""
        self._queue += data

    def acknowledged(self, ack: int, seen: int, ranges: list[tuple[int, int]], now: float) -> None:
        """What the far end says it has. Numbers that cannot be are ignored."""
        if not 0 <= ack <= self._next:
            return
        for segment in self._segments:
            if segment.arrived or not segment.tx:
                continue
            inside = any(begin <= segment.offset and segment.end <= end for begin, end in ranges)
            if segment.end <= ack or inside:
                self._arrived(segment, now)
            elif _later(seen, segment.tx):
                self._lost(segment)
        while self._segments and self._segments[0].end <= ack:
            self._segments.popleft()

    def due(self, now: float) -> Segment | None:
        """The next piece to send now, as sent; None when the window is full or nothing waits."""
        self._overdue(now)
        segment = next((s for s in self._segments if s.due), None) or self._fresh()
        if segment is None:
            return None
        segment.again = segment.tx > 0
        self.resent += segment.again
        self._tx = self._tx % 0xFFFF + 1
        segment.tx, segment.at, segment.due = self._tx, now, False
        return segment

    @property
    def more(self) -> bool:
        """Whether ``due`` has another piece."""
        return any(s.due for s in self._segments) or bool(self._queue and self._room() > 0)

    def next_time(self) -> float | None:
        """When the oldest piece under way is taken for lost; None when there is none."""
        oldest = self._oldest()
        return None if oldest is None else oldest.at + self._wait

    def _oldest(self) -> Segment | None:
        return next((s for s in self._segments if s.tx and not s.arrived and not s.due), None)

    def _overdue(self, now: float) -> None:
        oldest = self._oldest()
        if oldest is not None and oldest.at + self._wait <= now:
            self._lost(oldest)
            self._wait = min(MOST_WAIT, self._wait * 2)

    def _room(self) -> int:
        return self._window - sum(s.cost for s in self._segments if not s.arrived)

    def _fresh(self) -> Segment | None:
        if not self._queue:
            return None
        size = min(self._size, len(self._queue))
        under_way = any(not s.arrived for s in self._segments)
        if under_way and self._room() < size * 8 // 7 + FRAME_COST:
            return None
        segment = Segment(self._next, bytes(self._queue[:size]))
        del self._queue[:size]
        self._next += size
        self._segments.append(segment)
        return segment

    def _arrived(self, segment: Segment, now: float) -> None:
        segment.arrived, segment.due = True, False
        if not segment.again:
            self._measured(now - segment.at)
        self._clean += 1
        if self._clean >= CLEAN_RUN:
            self._clean = 0
            self._size = min(MOST_PAYLOAD, self._size * 2)

    def _lost(self, segment: Segment) -> None:
        segment.due = True
        self._clean = 0
        if _later(segment.tx, self._shrunk_at):  # once for all that went out before the last time
            self._shrunk_at = self._tx
            self._size = max(SMALLEST, self._size // 2)

    def _measured(self, sample: float) -> None:
        """Round trips as RFC 6298 has it, with bounds that fit a line."""
        if self._round is None:
            self._round, self._deviation = sample, sample / 2
        else:
            self._deviation += (abs(sample - self._round) - self._deviation) / 4
            self._round += (sample - self._round) / 8
        wait = self._round + 4 * self._deviation + LEAST_WAIT
        self._wait = min(MOST_WAIT, wait)


def _later(one: int, other: int) -> bool:
    """Whether transmission ``one`` came after ``other``; numbers wrap at 16 bits."""
    return 0 < (one - other) & 0xFFFF < 0x8000
