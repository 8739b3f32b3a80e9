"""A process with the name of tee-supplicant on this machine, which is what its list shows."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


@contextmanager
def running(directory: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """With ``words`` on its command line. One at a time on this machine: who looks takes the first
    that is there.
    """
    program = directory / "tee-supplicant"
    program.write_text("#!/bin/sh\necho ready\nread -r word\n")
    program.chmod(0o700)
    lock = Path(tempfile.gettempdir()) / "trustbox-tests-supplicant.lock"
    with (
        FileLock(lock, timeout=60, mode=0o666),
        subprocess.Popen(
            [program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as started,
    ):
        assert started.stdout is not None
        assert started.stdout.readline() == b"ready\n"
        try:
            yield started
        finally:
            started.kill()
