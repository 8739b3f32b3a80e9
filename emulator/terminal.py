"""A person's terminal joined to a byte stream: keys go out as they are typed, bytes come in."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sys
import termios
import tty
from collections.abc import Iterator

_LEAVE = b"\x1d"
"""Ctrl-], as in telnet: nothing that a shell or an editor on the box needs."""


def talk(sock: socket.socket) -> None:
    """Until Ctrl-], the end of stdin, or the end of the stream."""
    keys, screen = sys.stdin.fileno(), sys.stdout.fileno()
    with _raw(keys):
        while True:
            ready, _, _ = select.select([keys, sock], [], [])
            if sock in ready:
                data = sock.recv(65536)
                if not data:
                    return
                _write_all(screen, data)
            if keys in ready:
                typed = os.read(keys, 4096)
                if not typed or _LEAVE in typed:
                    return
                sock.sendall(typed)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Every key as it is, on a terminal; anything else is left alone."""
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
