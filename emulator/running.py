"""Running the tools of the image build: all output in one log, a failure told in one sentence."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.deadline import Deadline
from harness.errors import BuildFailed

Progress = Callable[[str], None]

_TELLING = re.compile(r"error|fatal|cannot|failed|No such file|not found|^E: ", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Tools:
    """Runs programs for one build. ``log`` gets every command line and everything they print.

    A program that is still running when its caller leaves (Ctrl-C, deadline) is killed with its
    children; when the whole build is killed, the kernel kills the program (PR_SET_PDEATHSIG).
    """

    log: Path
    by: Deadline
    progress: Progress

    def run(
        self, step: str, *argv: str | Path, cwd: Path | None = None, env: Mapping[str, str] = {}
    ) -> None:
        """Run to the end. Raises BuildFailed with the most telling line of the output."""
        with self.log.open("ab") as log:
            start = log.seek(0, os.SEEK_END)
            log.write(f"\n$ {' '.join(map(str, argv))}\n".encode())
            log.flush()
            with _started(step, argv, cwd, env, stdout=log, stderr=subprocess.STDOUT) as child:
                status = child.wait(timeout=self.by.left(step))
        if status:
            raise BuildFailed(step, self._reason(argv[0], status, start), log=str(self.log))

    def ask(self, step: str, *argv: str | Path, cwd: Path | None = None) -> str:
        """Run to the end and return what it printed; what it complained about goes to the log."""
        with self.log.open("ab") as log:
            start = log.seek(0, os.SEEK_END)
            log.write(f"\n$ {' '.join(map(str, argv))}\n".encode())
            log.flush()
            with _started(step, argv, cwd, {}, stdout=subprocess.PIPE, stderr=log) as child:
                out, _ = child.communicate(timeout=self.by.left(step))
        if child.returncode:
            reason = self._reason(argv[0], child.returncode, start)
            raise BuildFailed(step, reason, log=str(self.log))
        return bytes(out).decode(errors="replace")

    def _reason(self, program: str | Path, status: int, start: int) -> str:
        with self.log.open("rb") as log:
            log.seek(start)
            lines = log.read().decode(errors="replace").splitlines()[2:]
        telling = [line.strip() for line in lines if _TELLING.search(line)] or lines[-1:] or [""]
        return f"{Path(program).name} exited with {status}: {telling[0][:300]}"


@contextlib.contextmanager
def _started(
    step: str,
    argv: tuple[str | Path, ...],
    cwd: Path | None,
    env: Mapping[str, str],
    *,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes],
) -> Iterator[subprocess.Popen[bytes]]:
    # setpriv, because a preexec_fn is not safe in a process with threads.
    line = ["setpriv", "--pdeathsig", "KILL", *map(str, argv)]
    # Tools answer in the user's language otherwise, and their answers are parsed here.
    surroundings = {**os.environ, "LC_ALL": "C.UTF-8", **env}
    try:
        child = subprocess.Popen(
            line,
            cwd=cwd,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    except FileNotFoundError as missing:
        raise BuildFailed(step, f"{missing.filename} is not installed on this machine") from missing
    try:
        yield child
    except BaseException as ended:
        # The whole group, also when its leader is gone already: make may leave compilers behind.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if isinstance(ended, subprocess.TimeoutExpired):
            raise BuildFailed(step, f"{argv[0]} did not end within the time for it") from ended
        raise
    finally:
        if child.stdout is not None:
            child.stdout.close()
