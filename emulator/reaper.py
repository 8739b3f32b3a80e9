"""However the harness ends, nothing of it stays behind: the harness's side of the reaper.

Cleaning up in ``finally`` is not enough, as SIGKILL shows. One small process for each harness
process (``reaper_child.py``) holds a pipe whose other end only the harness has; when that end
closes it kills and removes what it was told of. A process announces *itself* on that pipe before
it becomes QEMU, so there is no moment at which a QEMU lives that the reaper does not know.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

from harness.errors import RigError

_CHILD = Path(__file__).with_name("reaper_child.py")

ANNOUNCE = ("/bin/sh", "-c", 'echo "pid $$" >&0 && exec "$@" </dev/null', "sh")
"""Prefix of an argument list whose stdin is ``Reaper.pipe``: announces itself, then becomes it."""


class Reaper:
    """Knows the processes and directories that must not outlive this process."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe

    def remove(self, directory: Path) -> None:
        """``directory`` goes when this process goes."""
        self._order(f"dir {directory}")

    def keep(self, directory: Path) -> None:
        """``directory`` was removed, or stays."""
        self._order(f"keep {directory}")

    def _order(self, line: str) -> None:
        # One write of less than PIPE_BUF: lines of several writers never mix.
        try:
            os.write(self.pipe, os.fsencode(line) + b"\n")
        except OSError as exc:
            raise RigError(
                "the process that cleans up after QEMU is gone",
                hint="Something killed it. Start again; what it left is removed then.",
            ) from exc


def reaper() -> Reaper:
    """This process's reaper, started when first asked for."""
    return _of_process(os.getpid())


@functools.cache
def _of_process(pid: int) -> Reaper:
    """Cached by pid, so that a forked child gets its own."""
    theirs, ours = os.pipe()
    try:
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", str(_CHILD), str(pid)],
            {"PATH": os.defpath},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, theirs, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
            setsid=True,
        )
    except OSError as exc:
        os.close(ours)
        raise RigError(f"the process that cleans up after QEMU does not start: {exc}") from exc
    finally:
        os.close(theirs)
    return Reaper(ours)
