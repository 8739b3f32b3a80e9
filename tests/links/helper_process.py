"""The helper compiled for this machine with sanitizers, at the other end of two pipes."""

from __future__ import annotations

import os
import select
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.agent_build import sources
from harness.deadline import Deadline
from harness.errors import DeadlineExpired

SANITIZED = (
    *("-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-Wall", "-Wextra", "-Werror"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
)


def build_sanitized(into: Path) -> Path:
    """On the real C library, which the sanitizers need.

    Any undefined behaviour ends it with a status of its own and a report on stderr.
    """
    units = [name for name in sources() if name.endswith(".c") and name != "libc.c"]
    for name, text in sources().items():
        (into / name).write_bytes(text)
    files = [str(into / name) for name in units]
    subprocess.run(["gcc", *SANITIZED, "-o", str(into / "agent"), *files], check=True)
    return into / "agent"


@dataclass(slots=True)
class PipeStream:
    """Implements ``Stream`` over a child process."""

    process: subprocess.Popen[bytes]
    _report: str = ""

    @classmethod
    def start(cls, *argv: str) -> PipeStream:
        pipe = subprocess.PIPE
        return cls(subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0))

    def send(self, data: bytes, *, by: Deadline) -> None:
        assert self.process.stdin is not None
        view = memoryview(data)
        while view:
            by.left("the helper to take its input")
            view = view[self.process.stdin.write(view) or 0 :]

    def receive(self, most: int, *, by: Deadline) -> bytes:
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        if not poll.poll(by.left("the helper") * 1000):
            raise DeadlineExpired("the helper", by.seconds)
        return os.read(self.fileno(), most)

    def fileno(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def close(self) -> None:
        for end in (self.process.stdin, self.process.stdout):
            if end is not None:
                end.close()

    def ended(self, *, by: Deadline) -> tuple[int, str]:
        """Its exit status and what a sanitizer reported."""
        self.close()
        if self.process.stderr is not None and not self.process.stderr.closed:
            self._report = self.process.stderr.read().decode(errors="replace")
            self.process.stderr.close()
        return self.process.wait(by.left("the helper to end")), self._report
