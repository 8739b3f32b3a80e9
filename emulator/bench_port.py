"""A kept box's SSH port as a bench has it: the same number for as long as the box is kept.

A cable does not move when a box is switched off and on. QEMU's port does, so this one listens and
passes on. Without power nobody listens, and what was connected hears nothing any more: a box whose
plug was pulled says no goodbye. Its old connections are reset when it has come up again.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from harness.errors import RigError

_HOST = "127.0.0.1"
_CHUNK = 64 * 1024
_AT_ONCE = 64
_CONNECT_SECONDS = 5.0
_SEND_SECONDS = 60.0
_GRACE = 0.2
"""QEMU's sockets close a moment before its end is known."""


class Passage:
    """One connection, passed on in both directions until an end closes it or power is lost."""

    def __init__(self, outer: socket.socket, inner: socket.socket) -> None:
        self._outer, self._inner = outer, inner
        self._silent = threading.Event()
        self._threads = [
            threading.Thread(target=self._carry, args=ends, name="bench-ssh", daemon=True)
            for ends in ((outer, inner), (inner, outer))
        ]
        for end in (outer, inner):
            end.settimeout(None)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for thread in self._threads:
            thread.start()

    @property
    def over(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads) and not self._silent.is_set()

    def fall_silent(self) -> None:
        """Not a byte more, and no end either."""
        self._silent.set()

    def reset(self) -> None:
        """What a box that knows nothing of this connection answers to it. Safe to call twice."""
        with contextlib.suppress(OSError):
            self._outer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for end in (self._inner, self._outer):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RD)  # wakes the thread that reads here
            end.close()
        for thread in self._threads:
            thread.join(_CONNECT_SECONDS)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if self._silent.is_set():
                    return
                sink.sendall(data)
        if source is self._inner and self._silent.wait(_GRACE):
            return
        if not self._silent.is_set():
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)


class BenchPort:
    """Owns the port from the start; ``open`` and ``power_lost`` say whether somebody listens."""

    def __init__(self, wanted: int, inner_port: Callable[[], int]) -> None:
        """``wanted`` is taken if it is free, else the kernel's choice: see ``number``.

        ``inner_port`` is asked for each connection and raises RigError when the box is off.
        """
        self._inner_port = inner_port
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._passages: list[Passage] = []
        self._thread: threading.Thread | None = None
        # Bound and not listening: nobody else gets the number, and callers are refused.
        try:
            self._reserved = _reserved(wanted)
        except OSError:
            self._reserved = _reserved(0)
        self.number = int(self._reserved.getsockname()[1])

    def open(self) -> None:
        """The box's SSH server answers. Already open: nothing happens."""
        with self._lock:
            if self._listener is not None:
                return
            self._end_passages()
            self._listener = _listener(self.number)
            self._thread = threading.Thread(
                target=self._accept, args=(self._listener,), name="bench-ssh", daemon=True
            )
            self._thread.start()

    def power_lost(self) -> None:
        """Call it *before* QEMU is killed: its end must not look like a goodbye."""
        with self._lock:
            self._refuse()
            for passage in self._passages:
                passage.fall_silent()

    def close(self) -> None:
        with self._lock:
            self._refuse()
            self._end_passages()
        if self._thread is not None:
            self._thread.join(_CONNECT_SECONDS)
        self._reserved.close()

    def _refuse(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # close() alone does not wake accept()
            listener.close()

    def _end_passages(self) -> None:
        for passage in self._passages:
            passage.reset()
        self._passages.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                outer, _ = listener.accept()
                try:
                    where = (_HOST, self._inner_port())
                    inner = socket.create_connection(where, timeout=_CONNECT_SECONDS)
                except (OSError, RigError):
                    outer.close()
                    continue
                with self._lock:
                    if self._listener is not listener:
                        outer.close()
                        inner.close()
                        return
                    self._passages = [one for one in self._passages if not one.over]
                    self._passages.append(Passage(outer, inner))


def _reserved(port: int) -> socket.socket:
    """Fails when anybody has the port, then lets this user's own listener share it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.bind((_HOST, port))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _listener(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((_HOST, port))
        sock.listen(_AT_ONCE)
    except BaseException:
        sock.close()
        raise
    return sock
