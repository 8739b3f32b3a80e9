"""A kept box's UART as a bench has it: a serial device that outlasts power cuts and readers.

Bytes that come while nobody has the device open are lost, as on a serial adapter. A reader that is
merely slow loses none: what it has not taken waits in the console's record (64 MiB). The guest is
never stopped by either.
"""

from __future__ import annotations

import contextlib
import os
import select
import termios
import threading
import tty
from pathlib import Path

from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, TrustBoxError

_CHUNK = 4096
_LOOK_SECONDS = 0.5
_ABSENT_SECONDS = 0.02
"""A pty does not tell when somebody opens it; what is typed at once waits in it for this long."""
_FULL_MILLISECONDS = 100


class BenchUart:
    """``path`` leads to the device for as long as this is open. Raises OSError when it cannot."""

    def __init__(self, path: Path, console: SerialConsole) -> None:
        self.path = path
        self._console = console
        self._closed = threading.Event()
        self._master, slave = os.openpty()
        try:
            tty.setraw(slave)
            os.set_blocking(self._master, False)
            path.unlink(missing_ok=True)
            path.symlink_to(os.ttyname(slave))
        except BaseException:
            os.close(self._master)
            raise
        finally:
            # Held open it would look as if somebody always read.
            os.close(slave)
        self._threads = [
            threading.Thread(target=run, name=f"bench-{path.name}", daemon=True)
            for run in (self._speak, self._listen)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Safe to call twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        for thread in self._threads:
            thread.join()
        self.path.unlink(missing_ok=True)
        os.close(self._master)

    def _speak(self) -> None:
        """The box's bytes to whoever has the device open."""
        offset = self._console.recorded
        while not self._closed.is_set():
            data = b""
            with contextlib.suppress(DeadlineExpired):
                offset, data = self._console.follow(offset, by=Deadline.after(_LOOK_SECONDS))
            if not self._give(data):
                # Nobody is there: what the last one left unread is not for the next one.
                termios.tcflush(self._master, termios.TCOFLUSH)
                offset = self._console.recorded

    def _give(self, data: bytes) -> bool:
        """Whether somebody is there, and was until the last byte."""
        poll = select.poll()
        poll.register(self._master, select.POLLOUT)
        rest = memoryview(data)
        while not self._closed.is_set():
            for _, found in poll.poll(_FULL_MILLISECONDS if rest else 0):
                if found & select.POLLHUP:
                    return False
                if rest:
                    with contextlib.suppress(BlockingIOError):
                        rest = rest[os.write(self._master, rest[:_CHUNK]) :]
            if not rest:
                break
        return True

    def _listen(self) -> None:
        """Keys to the box; without power they go nowhere."""
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        while not self._closed.is_set():
            for _, found in poll.poll(_LOOK_SECONDS * 1000):
                if found & select.POLLIN:
                    with contextlib.suppress(OSError, TrustBoxError):
                        self._console.send(os.read(self._master, _CHUNK))
                elif found & select.POLLHUP:
                    self._closed.wait(_ABSENT_SECONDS)
