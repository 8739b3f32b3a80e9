"""The program that outlives its harness by as long as it takes to clean up. Run by path, alone.

It reads orders on stdin, one a line, from the harness and from the processes that it starts:

    pid N      this process must not outlive the harness
    dir PATH   this directory must not either
    keep PATH  it is done with, or has become something that stays

When the harness is gone (its end of the pipe closes, or the process itself ends, however it does),
every process is killed and every directory removed. Only the standard library, and little of it: it
starts in some ten milliseconds. It shares no session with the harness, so neither Ctrl-C nor a
signal to the harness's process group reaches it.
"""

import contextlib
import os
import select
import shutil
import signal
import sys

_ORDERS = 0
_LAST_ORDERS_MS = 1000
"""How long a process that the harness had just begun to start gets to announce itself."""


class Charge:
    """What there is to clean up."""

    def __init__(self) -> None:
        self.processes: dict[int, int] = {}
        self.directories: set[str] = set()

    def take(self, order: str) -> None:
        word, _, what = order.partition(" ")
        if word == "pid" and what.isascii() and what.isdigit():
            self._forget_the_dead()
            with contextlib.suppress(OSError):
                self.processes[int(what)] = os.pidfd_open(int(what))
        elif word == "dir" and what.startswith("/"):
            self.directories.add(what)
        elif word == "keep":
            self.directories.discard(what)

    def clean_up(self) -> None:
        for descriptor in self.processes.values():
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        for descriptor in self.processes.values():
            select.select([descriptor], [], [], 2.0)
        for directory in self.directories:
            shutil.rmtree(directory, ignore_errors=True)

    def _forget_the_dead(self) -> None:
        for pid, descriptor in list(self.processes.items()):
            if select.select([descriptor], [], [], 0)[0]:
                os.close(descriptor)
                del self.processes[pid]


def main(harness: int) -> None:
    charge = Charge()
    try:
        parent = os.pidfd_open(harness)
    except OSError:
        parent = -1
    if os.getppid() != harness:
        parent = -1
    poll = select.poll()
    poll.register(_ORDERS, select.POLLIN | select.POLLHUP)
    if parent >= 0:
        poll.register(parent, select.POLLIN)
    alive, rest = parent >= 0, b""
    while True:
        ready = dict(poll.poll(None if alive else _LAST_ORDERS_MS))
        if parent in ready:
            poll.unregister(parent)
            alive = False
        if _ORDERS in ready:
            data = os.read(_ORDERS, 65536)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                charge.take(os.fsdecode(line))
        elif not ready:
            break
    charge.clean_up()


if __name__ == "__main__":
    main(int(sys.argv[1]))
