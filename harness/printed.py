"""What a program of this machine prints, bounded in time and size, and never kept in a file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from typing import IO

from harness.deadline import Deadline
from harness.ready import readable


def printed(
    argv: Sequence[str], *, most: int, by: Deadline, errors: IO[bytes] | int = subprocess.DEVNULL
) -> tuple[int, bytes]:
    """Its exit status and standard output, of which ``most`` octets are read, and one more where
    there is more; it is then killed. It has no input and no shell.

    What it leaves running in the background (an agent that has its output open) is not waited for.
    Raises OSError when it cannot be started, DeadlineExpired; then it was killed.
    """
    reading, writing = os.pipe()
    try:
        started = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=writing, stderr=errors)
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    try:
        said = _said(started.pid, reading, most + 1, by)
        if len(said) <= most:
            started.wait()  # it has ended
        else:
            started.kill()
    finally:
        os.close(reading)
        if started.poll() is None:
            started.kill()
        started.wait()
    return started.returncode, said


def _said(pid: int, reading: int, most: int, by: Deadline) -> bytes:
    said, whole = b"", False
    ended = os.pidfd_open(pid)
    try:
        while True:
            watched = [ended] if whole else [reading, ended]
            ready = readable(watched, by.left("a program to print what it is asked for"))
            if reading in ready:
                piece = os.read(reading, most - len(said))
                said, whole = said + piece, not piece
                if len(said) == most:
                    return said
            elif ended in ready:  # who else has its output open is none of our business
                return said
    finally:
        os.close(ended)
