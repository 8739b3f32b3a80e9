"""A QEMU process: started with its descriptors, watched for its end, killed on request."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from emulator.reaper import ANNOUNCE, reaper
from harness.deadline import Deadline
from harness.errors import RigError

_LOG_TAIL = 64 * 1024
PTY_NOTE = "char device redirected to"
"""QEMU says so at every start, for every pty."""
_KILL_SECONDS = 10.0
"""SIGKILL is not negotiable; a process that outlasts it by this much hangs in the kernel."""


class Process:
    """A running QEMU. Its end is noticed by a thread of its own the moment it comes."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self._popen = popen
        self._log = log
        self._meant = False
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._obituary = ""
        self._mourner: Callable[[str], None] | None = None

    @classmethod
    def start(
        cls,
        argv: Sequence[str],
        *,
        fds: Sequence[int],
        log: Path,
    ) -> Process:
        """Start ``argv`` with ``fds`` inherited; what it says goes to ``log``.

        Raises RigError when there is no such program.
        """
        if shutil.which(argv[0]) is None:
            raise RigError(
                f"{argv[0]} is not installed", hint="Install the package qemu-system-arm."
            )
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            popen = subprocess.Popen(
                [*ANNOUNCE, *argv],
                stdin=reaper().pipe,
                stdout=descriptor,
                stderr=descriptor,
                pass_fds=fds,
                start_new_session=True,  # a terminal's Ctrl-C is for the harness to handle
            )
        except OSError as exc:
            raise RigError(f"{argv[0]} does not start: {exc}") from exc
        finally:
            os.close(descriptor)
        process = cls(popen, log)
        threading.Thread(target=process._watch, name=f"qemu-{popen.pid}", daemon=True).start()
        return process

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def ended(self) -> bool:
        """True at the latest when the mourner hears of it: who is told may act on it at once."""
        return self._popen.returncode is not None

    def tell(self, mourner: Callable[[str], None]) -> None:
        """``mourner`` is called once, with one line, when the process ends without kill().

        From another thread then; at once, if that has happened already.
        """
        with self._lock:
            self._mourner = mourner
            obituary = self._obituary
        if obituary:
            mourner(obituary)

    def wait(self, *, by: Deadline) -> None:
        """Until it has ended and whoever was to be told was. Raises DeadlineExpired."""
        while not self._ended.wait(by.left("QEMU to end")):
            pass

    def kill(self) -> None:
        """End it at once and wait until it is gone. Safe to call twice."""
        self._meant = True
        if not self._ended.is_set():
            self._popen.send_signal(signal.SIGKILL)
        if not self._ended.wait(_KILL_SECONDS):
            raise RigError(f"QEMU (process {self.pid}) does not end, not even by SIGKILL")

    def log(self) -> str:
        """What QEMU has said so far, the last 64 KiB of it."""
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, self._log.stat().st_size - _LOG_TAIL))
                return file.read(_LOG_TAIL).decode(errors="replace")
        except OSError:
            return ""

    def _watch(self) -> None:
        status = self._popen.wait()
        if not self._meant:
            with self._lock:
                self._obituary = self._last_words(status)
                mourner = self._mourner
            if mourner is not None:
                mourner(self._obituary)
        self._ended.set()

    def _last_words(self, status: int) -> str:
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        said = [line for line in self.log().splitlines() if line.strip() and PTY_NOTE not in line]
        return f"QEMU ended with {how}" + (f": {said[-1][:300]}" if said else "")
