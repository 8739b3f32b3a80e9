"""The link to a helper on a serial line: a reliable stream of bytes over frames that get lost.

Whoever waits in ``send`` or ``receive`` does the sending and the timing; acknowledgements go out
from the console's reader thread at once. A box that is silent, or whose console shows that it began
anew, ends the link soon, and the error quotes the console.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.console_signs import HELPER_ENDED, LOGIN, RESTARTED, last_line
from harness.deadline import Deadline
from harness.errors import LinkLost
from harness.serial_health import SerialHealth
from harness.uart_frames import LinkFrame, LinkKind
from harness.uart_receiver import Receiver
from harness.uart_sender import Sender
from harness.vitals import Vitals

WINDOW = 2048
"""Bytes to the box that may be unanswered: what its UART and tty hold in any case."""
SILENCE_SECONDS = 4.0
PING_SECONDS = 1.5
SUSPECT_SECONDS = 2.0
FULL = 16 * 1024
MOST_STREAM = 1 << 30


class UartLink:
    """Implements ``Stream``. One thread sends and receives; the reader thread delivers."""

    def __init__(
        self,
        nonce: int,
        write: Callable[[bytes], None],
        vitals: Vitals,
        quote: Callable[[], str],
        *,
        silence: float = SILENCE_SECONDS,
        window: int = WINDOW,
    ) -> None:
        self.nonce = nonce
        self._write_line, self._vitals, self._quote = write, vitals, quote
        self._silence = silence
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._sender, self._receiver = Sender(window), Receiver()
        self._inbox = bytearray()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._why_lost = ""
        self._closed = False
        self._answer_due = False
        self._text = b""
        now = time.monotonic()
        self._heard = self._any = self._said = self._engaged = now
        self._pings = 0
        self._suspect: tuple[float, str] | None = None
        self._limit: Deadline | None = None
        self._bytes_out = self._frames_out = 0
        vitals.subscribe(self._wake)

    @property
    def lost(self) -> str:
        """Why the link is of no use any more; empty while it is."""
        with self._changed:
            if self._suspect and not self._why_lost:
                return self._suspect[1]
            return self._why_lost or ("it was closed" if self._closed else "")

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, and nobody's numbers come near their end."""
        with self._changed:
            spent = self._receiver.expected > MOST_STREAM
            return not (self._inbox or self._sender.waiting or spent)

    def limit(self, by: Deadline | None) -> None:
        """Until when a request may take: after it, a box that says nothing is not waited for."""
        self._limit = by

    def reset(self) -> None:
        """Ask a helper that waits on the line to begin anew with this link. May get lost."""
        self._write([LinkFrame(LinkKind.RESET, self.nonce)])

    def bye(self, *, wait: float = 0.0) -> None:
        """Ask the helper to end, and wait up to so many seconds until the console says that it did.
        May get lost; then it ends by itself soon (``uart_keep``)."""
        with contextlib.suppress(LinkLost):
            self._write([LinkFrame(LinkKind.BYE, self.nonce)])
        with self._changed:
            self._changed.wait_for(lambda: self._why_lost or self._closed, wait)

    def send(self, data: bytes, *, by: Deadline) -> None:
        """Put ``data`` on its way; at most 16 KiB of it are still to be sent on return.

        Raises LinkLost, BoxDied, DeadlineExpired.
        """
        self._engage()
        with self._changed:
            self._sender.put(data)
        what = "the box to take its input"
        while self._step(what, by) or not self._taken():
            self._wait(what, by, for_input=False)

    def receive(self, most: int, *, by: Deadline) -> bytes:
        """1 to ``most`` bytes. Raises LinkLost, BoxDied, DeadlineExpired."""
        self._engage()
        while True:
            with self._changed:
                if self._inbox:
                    data = bytes(self._inbox[:most])
                    del self._inbox[:most]
                    if not self._inbox:
                        with contextlib.suppress(BlockingIOError):
                            os.eventfd_read(self._event)
                    return data
            if not self._step("the box's answer", by):
                self._wait("the box's answer", by)

    def fileno(self) -> int:
        """Readable when receive() will not block."""
        return self._event

    def close(self) -> None:
        """Nothing is sent or taken any more. The helper is left to a ``reset`` or its own end."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        self._vitals.unsubscribe(self._wake)
        os.close(self._event)

    def fail(self, why: str) -> None:
        """The link is lost: whoever waits is told ``why``."""
        with self._changed:
            self._why_lost = self._why_lost or why
            self._changed.notify_all()

    def arrived(self, frames: Sequence[LinkFrame]) -> None:
        """Frames of this link, from the reader thread."""
        now = time.monotonic()
        with self._changed:
            self._any = now
            if not frames or self._closed:
                return
            had, tell = bool(self._inbox), False
            self._heard, self._pings, self._suspect = now, 0, None
            for frame in frames:
                if frame.kind is LinkKind.DATA:
                    data, soon = self._receiver.take(frame)
                    self._inbox += data
                    tell = tell or soon
                ranges = frame.ranges if frame.kind is LinkKind.ACK else []
                self._sender.acknowledged(frame.ack, frame.seen, ranges, now)
            if self._inbox and not had:
                os.eventfd_write(self._event, 1)
            answer = self._answer() if tell else None
            if self._inbox or self._sender.more:
                self._changed.notify_all()
        # Never blocked behind a writer: the reader must go on reading, or both ends may stand.
        if answer is not None:
            with contextlib.suppress(LinkLost):
                if not self._write([answer], block=False):
                    self._answer_due = True

    def text(self, text: bytes) -> None:
        """Text between the frames, from the reader thread: does it say that the box is gone?"""
        now = time.monotonic()
        with self._changed:
            looked = (self._text + text)[-4096:]
            self._text = looked[looked.rfind(b"\n") + 1 :]
            if HELPER_ENDED in looked:
                self._why_lost = self._why_lost or "the helper on the box ended"
            found = RESTARTED.search(looked) or LOGIN.search(looked)
            if found and not self._suspect:
                self._suspect = (now, f"the box began anew: '{last_line(found[0])}'")
                self._text = b""
            if found or self._why_lost:
                self._changed.notify_all()

    def add_to(self, health: SerialHealth) -> SerialHealth:
        """``health`` with this link's counters added."""
        with self._changed:
            return replace(
                health,
                bytes_out=health.bytes_out + self._bytes_out,
                frames_out=health.frames_out + self._frames_out,
                resent=health.resent + self._sender.resent,
                doubled=health.doubled + self._receiver.doubled,
                gaps=health.gaps + self._receiver.gaps,
            )

    def _engage(self) -> None:
        """Somebody waits from now on: silence before that meant nothing."""
        with self._changed:
            now = time.monotonic()
            if now - self._engaged > 0 and not self._sender.unconfirmed:
                self._engaged = now

    def _taken(self) -> bool:
        with self._changed:
            return self._sender.waiting <= FULL

    def _step(self, what: str, by: Deadline) -> bool:
        """Send what is due; whether there was something."""
        with self._changed:
            self._check(what, by)
            frames = self._due(time.monotonic())
        if frames:
            self._write(frames)
        return bool(frames)

    def _wait(self, what: str, by: Deadline, *, for_input: bool = True) -> None:
        """Until something came or is due. ``_check`` follows, so a spurious end does no harm."""
        with self._changed:
            here = self._inbox if for_input else self._sender.waiting <= FULL
            if here or self._why_lost or self._answer_due or self._sender.more:
                return
            now = time.monotonic()
            times = [self._engaged + self._silence, now + self._silence / 4]
            if (next_time := self._sender.next_time()) is not None:
                times.append(next_time)
            if self._suspect:
                times.append(self._suspect[0] + SUSPECT_SECONDS)
            longest = max(0.001, min(time for time in times if time > now) - now)
            self._changed.wait(by.slice(what, longest))

    def _due(self, now: float) -> list[LinkFrame]:
        """What to send now. Nothing at all to a box that may be booting: a key stops U-Boot."""
        if self._suspect:
            return []
        frames = []
        while (segment := self._sender.due(now)) is not None:
            receiver, push = self._receiver, not self._sender.more
            head = (self.nonce, segment.tx, receiver.seen, receiver.expected, segment.offset)
            frames.append(LinkFrame(LinkKind.DATA, *head, segment.data, push))
        if frames or self._answer_due:
            self._answer_due = False
            return frames or [self._answer()]
        quiet = now - max(self._heard, self._engaged)
        if quiet > PING_SECONDS * (self._pings + 1) and self._pings < 2:
            self._pings += 1
            return [replace(self._answer(), push=True)]
        return []

    def _answer(self) -> LinkFrame:
        receiver = self._receiver
        ranges = receiver.ranges()
        return LinkFrame(LinkKind.ACK, self.nonce, 0, receiver.seen, receiver.expected, 0, ranges)

    def _check(self, what: str, by: Deadline) -> None:
        """Raises what must end a wait."""
        self._vitals.check()
        if self._closed:
            raise LinkLost("the link over the console was closed")
        now = time.monotonic()
        if self._suspect and now - self._suspect[0] >= SUSPECT_SECONDS:
            self._why_lost = self._why_lost or self._suspect[1]
        quiet = now - max(self._heard, self._engaged)
        silent = now - max(self._any, self._heard, self._engaged)
        if silent >= self._silence or quiet >= 4 * self._silence:
            self._why_lost = self._why_lost or f"the box said nothing for {quiet:.1f} s"
        late = self._limit is not None and self._limit.expired and self._limit.at != by.at
        if late and now - self._heard > PING_SECONDS:
            self._why_lost = self._why_lost or f"the box said nothing for {now - self._heard:.1f} s"
        if self._why_lost:
            raise LinkLost(
                f"{self._why_lost}, while waiting for {what} over the console",
                hint=f"The console's last line is: {self._quote() or '(nothing)'}",
            )
        by.left(what)

    def _write(self, frames: Sequence[LinkFrame], *, block: bool = True) -> bool:
        """False when somebody else writes, and that was not to be waited for."""
        data = b"".join([frame.line() for frame in frames])
        if not self._writing.acquire(blocking=block):
            return False
        try:
            self._write_line(data)
            self._said = time.monotonic()
            self._bytes_out += len(data)
            self._frames_out += len(frames)
        finally:
            self._writing.release()
        return True

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
