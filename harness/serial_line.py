"""Opening a serial line and taking everything that arrives on it, without missing or spinning.

A UART that nobody reads stops an emulated guest after some 280 bytes, so the reading thread must
always run, and it must take all that waits in one call: byte by byte, 100 kB took 56 s.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
import struct
import termios
import threading
import warnings
from collections.abc import Callable

import serial

from harness.errors import LinkLost, Unreachable
from harness.ready import readable
from harness.serial_health import PortCounters

CHUNK = 64 * 1024
SEND_SECONDS = 5.0
QUEUED_WAIT = 0.2
TIOCGICOUNT = 0x545D
"""Linux include/uapi/asm-generic/ioctls.h; struct serial_icounter_struct in linux/serial.h."""
ICOUNTER = struct.Struct("20i")


def _undelayed(descriptor: int) -> None:
    """Small frames go out at once where the line is a TCP connection (``socket://``): Nagle's
    algorithm and delayed acknowledgements together cost some 40 ms an exchange."""
    if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as line:
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _acknowledged(port: object) -> None:
    """What came over TCP is acknowledged now: a server under Nagle's algorithm, as ser2net is
    unless told otherwise, holds its next bytes back until it is, some 40 ms. Linux forgets the
    option as it goes (tcp(7), TCP_QUICKACK), so it is set anew with every reading."""
    line = getattr(port, "_socket", None)  # pyserial's RFC 2217 port has no public way to it
    if isinstance(line, socket.socket):
        with contextlib.suppress(OSError):
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)


class SerialLine:
    """An open port. ``read`` blocks for bytes, ``cancel`` wakes it up for good."""

    def __init__(self, url: str, baudrate: int) -> None:
        self.url = url
        try:
            with warnings.catch_warnings():
                # pyserial 3.5 uses Thread.setDaemon: harmless, but not where warnings are errors.
                warnings.simplefilter("ignore", DeprecationWarning)
                self._port = serial.serial_for_url(url, baudrate=baudrate, timeout=QUEUED_WAIT)
        except (serial.SerialException, OSError, ValueError) as problem:
            raise Unreachable(f"the serial line {url} cannot be opened: {problem}") from problem
        with contextlib.suppress(NotImplementedError):  # RFC 2217 has no write time-out
            self._port.write_timeout = SEND_SECONDS
        # A pty, a UART and pyserial's socket:// have a descriptor; RFC 2217 has a queue.
        self._descriptor: int | None = None
        with contextlib.suppress(OSError, AttributeError):  # io.UnsupportedOperation is an OSError
            self._descriptor = self._port.fileno()
            _undelayed(self._descriptor)
        self._awake, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._cancelled = False
        self._writing = threading.Lock()
        self._counted = self._count()

    def read(self) -> bytes:
        """All bytes that wait, at least one; b"" when the line ended or was cancelled."""
        if self._descriptor is None:
            return self._read_queue()
        try:
            if self._descriptor not in readable([self._descriptor, self._awake]):
                return b""
            return os.read(self._descriptor, CHUNK)
        except OSError:  # EIO: the other end of a pty was closed
            return b""

    def rest(self, deliver: Callable[[bytes], None]) -> None:
        """Hand over what still waits in the kernel, without waiting for more; at most 1 MiB."""
        if self._descriptor is None:
            return
        for _ in range(1024 * 1024 // CHUNK):
            try:
                if not readable([self._descriptor], 0):
                    return
                data = os.read(self._descriptor, CHUNK)
            except OSError:
                return
            if not data:
                return
            deliver(data)

    def write(self, data: bytes) -> None:
        """All of ``data``. Raises LinkLost when the line ended or takes no bytes for 5 s."""
        try:
            with self._writing:  # two writers' bytes do not mix
                self._port.write(data)
        except (serial.SerialException, OSError) as problem:
            raise LinkLost(f"the serial line {self.url} takes no bytes: {problem}") from problem

    def send_break(self, seconds: float) -> None:
        """Raises LinkLost when the line ended. Lines of bytes alone swallow a break unseen."""
        try:
            self._port.send_break(seconds)
        # ValueError: pyserial's, when an RFC 2217 server refuses the option.
        except (serial.SerialException, OSError, ValueError, termios.error) as problem:
            raise LinkLost(f"the serial line {self.url} takes no break: {problem}") from problem

    def counters(self) -> PortCounters:
        """What the port has counted since it was opened; zeros where it tells nothing."""
        now, then = self._count(), self._counted
        return PortCounters(
            now.overruns - then.overruns,
            now.framing - then.framing,
            now.parity - then.parity,
            now.breaks - then.breaks,
        )

    def _count(self) -> PortCounters:
        if self._descriptor is None:
            return PortCounters()
        try:
            told = fcntl.ioctl(self._descriptor, TIOCGICOUNT, bytes(ICOUNTER.size))
        except OSError:  # a pty, a socket
            return PortCounters()
        # cts, dsr, rng, dcd, rx, tx, frame, overrun, parity, brk, buf_overrun
        fields = ICOUNTER.unpack(told)
        return PortCounters(fields[7] + fields[10], fields[6], fields[8], fields[9])

    def cancel(self) -> None:
        """Make ``read`` return b"" from now on; from any thread."""
        self._cancelled = True
        with contextlib.suppress(OSError):
            os.write(self._wake, b"x")

    def close(self) -> None:
        """Only after the reading thread has ended."""
        with contextlib.suppress(OSError):
            self._port.close()
        os.close(self._awake)
        os.close(self._wake)

    def _read_queue(self) -> bytes:
        try:
            while not self._cancelled:
                data: bytes = self._port.read(max(1, min(CHUNK, self._port.in_waiting)))
                if data:
                    _acknowledged(self._port)
                    return data
        except (serial.SerialException, OSError):
            return b""
        return b""
