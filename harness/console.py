"""A UART that is always recorded: reader thread, panics noticed, waits that end with the box.

::

    line --> reader thread --> Tap --> Recording --> expect(), lines(), transcript()
                                  \\-> PanicWatch --> Vitals (BoxDied for everybody who waits)

The console outlives power cycles: ``attach`` and ``detach`` change the line below it, and the
record goes on.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Sequence
from typing import Protocol

from harness.deadline import Deadline
from harness.errors import LinkLost
from harness.panics import DEFAULT_PANICS
from harness.recording import LONGEST_LINE, Recording
from harness.serial_health import PortCounters
from harness.serial_line import SerialLine
from harness.shown import printable
from harness.target import ConsoleLine, World
from harness.vitals import Vitals

OVERLAP = 16 * 1024
LAST_WORDS_SECONDS = 1.0


class PanicWatch:
    """Looks for death in what one reader thread delivers, one whole line at a time."""

    def __init__(self, vitals: Vitals, panics: Sequence[re.Pattern[bytes]]) -> None:
        self._vitals, self._panics = vitals, tuple(panics)
        self._unfinished = b""

    def look(self, data: bytes) -> None:
        """Report a panic as soon as its line is complete, or is too long to wait for its end."""
        text = self._unfinished + data
        start = text.rfind(b"\n") + 1
        whole, self._unfinished = text[:start], text[start:]
        if len(self._unfinished) > LONGEST_LINE:
            whole, self._unfinished = text, b""
        for panic in self._panics:
            found = panic.search(whole)
            if found:
                begin = whole.rfind(b"\n", 0, found.start()) + 1
                end = whole.find(b"\n", found.end())
                line = whole[begin : end if end >= 0 else None][:LONGEST_LINE]
                self._vitals.report_death(printable(line.decode(errors="replace")).strip())
                return

    def finish(self) -> None:
        """The line ended: what came without a line end counts too."""
        self.look(b"\n")


class Tap(Protocol):
    """Takes what is not for people out of what arrives. Called on the reader thread."""

    def take(self, data: bytes) -> bytes:
        """What of ``data`` is to be recorded."""

    def ended(self) -> bytes:
        """The line ended: what was held back, to be recorded."""


class SerialConsole:
    """Implements ``Console`` over anything pyserial opens. Cold until ``attach``."""

    def __init__(
        self, world: World, vitals: Vitals, *, panics: Sequence[re.Pattern[bytes]] = DEFAULT_PANICS
    ) -> None:
        self.world = world
        self._vitals, self._panics = vitals, tuple(panics)
        self._log = logging.getLogger(f"harness.console.{vitals.target}.{world.value}")
        self._recording = Recording()
        self._line: SerialLine | None = None
        self._reader: threading.Thread | None = None
        self._broken = False
        self._began = 0.0
        self._attaching = threading.Lock()
        self._tap: Tap | None = None
        self._cursor = 0
        self._vitals.subscribe(self._wake)

    def attach(self, url: str, *, baudrate: int = 115200) -> None:
        """Open the line and record from now on. An older line is detached first.

        ``url`` is a device path or anything that pyserial's ``serial_for_url`` takes. Raises
        Unreachable; then nothing is attached.
        """
        self.detach()
        line = SerialLine(url, baudrate)
        self._line, self._broken, self._began = line, False, time.monotonic()
        self._reader = threading.Thread(
            target=self._record,
            args=(line, PanicWatch(self._vitals, self._panics)),
            name=f"console-{self._vitals.target}-{self.world.value}",
            daemon=True,
        )
        self._reader.start()
        self._log.debug("recording %s", url)

    def detach(self) -> None:
        """Take what still waits on the line, and close it. The record stays. Safe to repeat."""
        with self._attaching:  # two that detach at once must not both close one descriptor
            line, reader = self._line, self._reader
            self._line = self._reader = None
        if line is not None and reader is not None:
            line.cancel()
            reader.join()
            line.close()
            self._log.debug("detached from %s", line.url)

    def close(self) -> None:
        """Detach for good; the record can still be read."""
        self.detach()
        self._vitals.unsubscribe(self._wake)

    def expect(self, pattern: re.Pattern[bytes], *, by: Deadline) -> re.Match[bytes]:
        """Wait for the pattern in what came since the last match.

        Each byte is searched once: a match can be at most 16 KiB longer than its last chunk. The
        text before the last match is gone for anchors and look-behind. Raises BoxDied as soon as
        the box is known to be dead and the pattern has not come, LinkLost when the line ended by
        itself, DeadlineExpired. Patterns are waited for by one thread at a time.
        """
        waiting_for = f"{pattern.pattern!r} on the {self.world.value} world's console"
        cursor = self._cursor
        window = bytearray()
        searched = 0
        last_words: Deadline | None = None
        while True:
            base, fresh = self._recording.since(cursor + len(window))
            if base > cursor + len(window):  # dropped unseen: start over behind the gap
                cursor, window, searched = base, bytearray(), 0
            window += fresh
            if fresh or not searched:
                hit = pattern.search(window, max(0, searched - OVERLAP))
                # Again over bytes that do not change: a match keeps what it was found in.
                if hit and (match := pattern.search(bytes(window), hit.start())):
                    self._cursor = cursor + match.end()
                    return match
                searched = len(window)
            with self._recording.changed:
                if self._recording.end > cursor + len(window):
                    continue
                self._vitals.check()
                if self._broken:
                    # A dying box takes its line along; who reports the death may be a moment late.
                    last_words = last_words or by.sooner(LAST_WORDS_SECONDS)
                    if last_words.expired:
                        raise LinkLost(f"the line ended while waiting for {waiting_for}")
                longest = LAST_WORDS_SECONDS if last_words else by.seconds
                self._recording.changed.wait(by.slice(waiting_for, longest))

    def send(self, data: bytes) -> None:
        """Raises LinkLost when nothing is attached or the line takes no bytes for 5 s."""
        line = self._line
        if line is None:
            raise LinkLost(f"the {self.world.value} world's console is not attached")
        line.write(data)

    def send_break(self, seconds: float = 0.3) -> None:
        """Hold the line at 0 that long: a Linux console takes the next key as SysRq.

        Raises LinkLost. A line of bytes alone (a pty, ``socket://``) swallows it unseen, so look
        for what should follow.
        """
        line = self._line
        if line is None:
            raise LinkLost(f"the {self.world.value} world's console is not attached")
        line.send_break(seconds)

    @property
    def began(self) -> float:
        """When the line that is read now, or was last, was attached, or ``begin`` was said if that
        was later (monotonic seconds)."""
        return self._began

    def begin(self, at: float) -> None:
        """What came before ``at`` (monotonic seconds) was said in an earlier life of the box: it
        was then switched on or put back, and the line outlasted that."""
        self._began = max(self._began, at)

    @property
    def attached(self) -> bool:
        """Whether a line is open and has not ended by itself."""
        return self._line is not None and not self._broken

    @property
    def url(self) -> str:
        """What is attached. Raises LinkLost when nothing is."""
        if self._line is None:
            raise LinkLost(f"the {self.world.value} world's console is not attached")
        return self._line.url

    def tap(self, tap: Tap | None) -> None:
        """From now on what arrives goes through ``tap`` first; None ends that."""
        self._tap = tap

    def counters(self) -> PortCounters:
        """What the host's UART counts; zeros where the port tells nothing."""
        line = self._line
        return PortCounters() if line is None else line.counters()

    def transcript(self) -> bytes:
        """Everything recorded, over all power cycles; the last 64 MiB, and it says so."""
        return self._recording.transcript()

    def lines(self, *, since: float = 0.0) -> list[ConsoleLine]:
        """Recorded lines of which a byte came at or after ``since``; control characters spelt."""
        return self._recording.lines(since)

    @property
    def recorded(self) -> int:
        """How many bytes were recorded so far: the offset of the next one."""
        return self._recording.end

    def recent(self, most: int) -> bytes:
        """The last bytes recorded, at most ``most`` of them."""
        return self._recording.since(self._recording.end - most)[1]

    def follow(self, offset: int, *, by: Deadline) -> tuple[int, bytes]:
        """What was recorded from ``offset`` on, at least a byte, and the offset behind it.

        For those who pass a console on. Raises DeadlineExpired; a dead line is only silent.
        """
        with self._recording.changed:
            while self._recording.end <= offset:
                left = by.left(f"more on the {self.world.value} world's console")
                self._recording.changed.wait(left)
        base, data = self._recording.since(offset)
        return base + len(data), data

    def _record(self, line: SerialLine, watch: PanicWatch) -> None:
        def deliver(data: bytes) -> None:
            tap = self._tap
            keep(data if tap is None else tap.take(data))

        def keep(text: bytes) -> None:
            if text:
                self._recording.append(text)
                watch.look(text)

        try:
            while data := line.read():
                deliver(data)
            line.rest(deliver)
            if (tap := self._tap) is not None:
                keep(tap.ended())
            watch.finish()
        except Exception:  # noqa: BLE001 - the thread's end; it is logged
            # A defect of ours; a reader that is gone must not look like a box that is silent.
            self._log.exception("the reader of %s ended", line.url)
        finally:
            if self._line is line:
                self._broken = True
            self._wake()

    def _wake(self) -> None:
        with self._recording.changed:
            self._recording.changed.notify_all()
