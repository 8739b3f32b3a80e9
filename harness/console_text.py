"""The text of a console while it comes: what a login dialogue looks at. Bounded, thread-safe."""

from __future__ import annotations

import threading
import time

from harness.console_signs import last_line

MOST_KEPT = 64 * 1024


class ConsoleText:
    """Everything but frames. Offsets count from the first byte, and stay valid."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._bytes = bytearray()
        self._base = 0
        self._hidden = b""
        self._held = b""
        self._last = time.monotonic()
        self.lines = 0

    @property
    def end(self) -> int:
        with self.changed:
            return self._base + len(self._bytes)

    @property
    def idle_since(self) -> float:
        """When the last text came (monotonic seconds); when this was made, if none did."""
        with self.changed:
            return self._last

    def append(self, data: bytes) -> None:
        with self.changed:
            self._bytes += data
            self._last = time.monotonic()
            self.lines += data.count(b"\n")
            surplus = len(self._bytes) - MOST_KEPT
            if surplus > MOST_KEPT:
                del self._bytes[:surplus]
                self._base += surplus
            self.changed.notify_all()

    def since(self, offset: int) -> bytes:
        with self.changed:
            return bytes(self._bytes[max(0, offset - self._base) :])

    def last_line(self) -> str:
        """The last line that says something; empty when nothing was said."""
        with self.changed:
            return last_line(bytes(self._bytes[-4096:]))

    def hide(self, secret: bytes) -> None:
        """From now on ``secret`` shows as asterisks, should the box echo it; b"" ends that."""
        with self.changed:
            self._hidden = secret

    def masked(self, data: bytes) -> bytes:
        """``data`` as it may be recorded; may hold back a beginning of the secret."""
        with self.changed:
            if not self._hidden and not self._held:
                return data
            secret, data = self._hidden, self._held + data
            self._held = b""
            if not secret:
                return data
            data = data.replace(secret, b"***")
            for size in range(min(len(secret) - 1, len(data)), 0, -1):
                if data.endswith(secret[:size]):
                    self._held, data = data[-size:], data[:-size]
                    break
            return data
