"""A serial line that loses and doubles bytes at a seeded rate, to show what that does.

    python -m harness.uart_faulty [--loss P] [--double P] [--seed N] -- PROGRAM...
    python -m harness.uart_faulty [--loss P] [--double P] [--seed N] --line /dev/...

The first output is one line: the device that a host opens and, with a program, the program's tty. A
program gets a terminal of its own and is started again when it ends, as a getty is. Ends with its
stdin, or by a signal.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import random
import select
import signal
import sys
import termios
import tty
from collections.abc import Sequence

CHUNK = 65536
MOST_WAITING = 16 * 1024
"""Bytes that wait for a side that takes none; then the other side waits, as on a real line."""


class Faults:
    """Bytes in, bytes out, some of them lost and some twice."""

    def __init__(self, loss: float, double: float, seed: int) -> None:
        self._loss, self._double = loss, double
        self._chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._until = self._next()

    def passed(self, data: bytes) -> bytes:
        """What comes out of the line for ``data``."""
        rate = self._loss + self._double
        if not rate:
            return data
        out, start = bytearray(), 0
        while self._until < len(data) - start:
            at = start + self._until
            out += data[start:at]
            if self._chance.random() * rate >= self._loss:
                out += data[at : at + 1] * 2
            start = at + 1
            self._until = self._next()
        self._until -= len(data) - start
        return bytes(out + data[start:])

    def _next(self) -> int:
        rate = self._loss + self._double
        return int(self._chance.expovariate(rate)) if rate else 0


def carry(one: int, other: int, faults: Sequence[Faults], child: int = 0) -> None:
    """Pass bytes both ways between two descriptors until ``child`` or stdin ends."""
    waiting = {one: b"", other: b""}
    to = {one: other, other: one}
    fault = {one: faults[0], other: faults[1]}
    while not (child and os.waitpid(child, os.WNOHANG)[0]):
        reading = [fd for fd in to if len(waiting[to[fd]]) < MOST_WAITING]
        writing = [fd for fd in to if waiting[fd]]
        readable, writable, _ = select.select([*reading, 0], writing, [], 0.5)
        if 0 in readable and not os.read(0, CHUNK):
            raise SystemExit(0)
        for fd in readable:
            if fd == 0:
                continue
            try:
                data = os.read(fd, CHUNK)
            except OSError:  # EIO: nobody has the other end of this pty
                return
            if not data:
                return
            waiting[to[fd]] += fault[fd].passed(data)
        for fd in writable:
            with contextlib.suppress(BlockingIOError):
                waiting[fd] = waiting[fd][os.write(fd, waiting[fd]) :]


def spawn(program: Sequence[str], near: int, far: int) -> int:
    """``program`` as a session leader with the pty ``far`` as its terminal; its process id."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    fcntl.ioctl(far, termios.TIOCSCTTY, 0)
    for number in range(3):
        os.dup2(far, number)
    os.close(near)
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTTOU):
        signal.signal(number, signal.SIG_DFL)
    os.execvp(program[0], list(program))  # noqa: S606 - no shell between
    raise AssertionError("execvp returned")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--loss", type=float, default=0.0, help="chance that a byte is lost")
    parser.add_argument("--double", type=float, default=0.0, help="chance that it comes twice")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--line", help="a device to pass on, instead of a program")
    parser.add_argument("program", nargs="*")
    options = parser.parse_args()
    if bool(options.line) == bool(options.program):
        parser.error("give a line or a program")
    faults = [Faults(options.loss, options.double, options.seed + way) for way in (0, 1)]
    host, device = os.openpty()
    tty.setraw(device)  # held open: a host may come and go
    os.set_blocking(host, False)
    if options.line:
        line = os.open(options.line, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(line)
        sys.stdout.write(f"{os.ttyname(device)}\n")
        sys.stdout.flush()
        carry(line, host, faults)
        return
    near, far = os.openpty()
    os.set_blocking(near, False)
    sys.stdout.write(f"{os.ttyname(device)} {os.ttyname(far)}\n")
    sys.stdout.flush()
    while True:
        child = spawn(options.program, near, far)
        try:
            carry(near, host, faults, child)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGHUP)


if __name__ == "__main__":
    main()
