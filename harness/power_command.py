"""A bench's own programs on this machine, such as a relay's tool."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, RigError
from harness.shown import printable

MOST_SAID = 4096


def run_command(argv: Sequence[str], *, by: Deadline) -> str:
    """Run it without a shell and without input, and return the last line it printed.

    What it leaves running in the background is not waited for. Raises RigError with its last words
    when it cannot be started or its status is not 0, DeadlineExpired; then it was killed with all
    that it had started.
    """
    what = argv[0]  # its other words may hold what opens the relay
    with tempfile.TemporaryFile() as output:  # a pipe would last as long as a grandchild keeps it
        try:
            started = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as problem:
            raise RigError(
                f"the command {argv[0]} cannot be started: {problem.strerror}",
                hint="Its first word is a program on PATH or a whole path, without a shell.",
            ) from problem
        try:
            status = started.wait(by.left(f"the command {what}"))
        except subprocess.TimeoutExpired:
            raise DeadlineExpired(f"the command {what}", by.seconds) from None
        finally:
            if started.returncode is None:
                with contextlib.suppress(OSError):
                    os.killpg(started.pid, signal.SIGKILL)
                started.wait()
        size = output.seek(0, os.SEEK_END)
        output.seek(max(0, size - MOST_SAID))
        said = _last_line(output.read())
    if status:
        raise RigError(f"the command {what} exited with {status}: {said or 'no words'}")
    return said


def _last_line(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines() or [""]
    return printable(lines[-1])[:200]
