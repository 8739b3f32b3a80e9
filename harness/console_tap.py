"""Between a console's reader thread and its record: frames go to the link, text to the record."""

from __future__ import annotations

import threading
from dataclasses import replace

from harness.console_text import ConsoleText
from harness.serial_health import SerialHealth
from harness.uart_codec import Sieve
from harness.uart_frames import parse
from harness.uart_link import UartLink


class ConsoleTap:
    """Implements ``Tap``. One link at a time; what belongs to no link is dropped and counted."""

    def __init__(self) -> None:
        self.text = ConsoleText()
        self._sieve = Sieve()
        self._lock = threading.Lock()
        self._link: UartLink | None = None
        self._past = SerialHealth()
        self._bytes_in = self._frames_in = self._bad = 0

    def connect(self, link: UartLink | None) -> None:
        """From now on frames go to ``link``; the counters of the last one are kept."""
        with self._lock:
            if self._link is not None:
                self._past = replace(self._link.add_to(self._past), sessions=self._past.sessions)
            if link is not None:
                self._past = replace(self._past, sessions=self._past.sessions + 1)
            self._link = link

    def take(self, data: bytes) -> bytes:
        """What of ``data`` is to be recorded."""
        text, bodies = self._sieve.feed(data)
        self._bytes_in += len(data)
        frames = [frame for body in bodies if (frame := parse(body)) is not None]
        self._frames_in += len(frames)
        self._bad += len(bodies) - len(frames)
        link = self._link
        if link is not None:
            link.arrived([f for f in frames if f.from_box and f.nonce == link.nonce])
        if text:
            text = self.text.masked(text)
            self.text.append(text)
            if link is not None:
                link.text(text)
        return text

    def ended(self) -> bytes:
        """The line is gone: what was held back, to be recorded."""
        rest = self._sieve.rest()
        link = self._link
        if link is not None:
            link.fail("the serial line ended")
        return rest

    def health(self) -> SerialHealth:
        """All counters except those of the port."""
        with self._lock:
            health = self._past if self._link is None else self._link.add_to(self._past)
        return replace(
            health,
            bytes_in=self._bytes_in,
            frames_in=self._frames_in,
            bad_checksums=self._bad,
            broken=self._sieve.broken,
            mixed=self._sieve.mixed,
            noise_lines=self.text.lines,
        )
