"""The journal of a record: what was meant to be done before it was done, on the disk.

One JSON object a line, each synced before the next thing happens. It tells people what happened;
runs do not read it back: they look at the box.
"""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import Misuse
from provisioning.private_files import sync_directory


def now() -> str:
    """UTC, ISO 8601, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


class Journal:
    """Appends. A line that a power cut cut short stays as it is; the next one starts anew."""

    def __init__(self, path: Path, run: str) -> None:
        self._run, self._path = run, path
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            sync_directory(path.parent)
        except OSError as problem:
            raise Misuse(f"{path} cannot be written: {problem.strerror}") from problem

    def add(self, step: str, phase: str, said: str) -> None:
        """``phase`` is intent, done, already, checked or failed. Durable when this returns."""
        entry = {"at": now(), "run": self._run, "step": step, "phase": phase, "said": said}
        line = json.dumps(entry, ensure_ascii=True) + "\n"
        try:
            os.write(self._file, line.encode())
            os.fsync(self._file)
        except OSError as problem:
            raise Misuse(
                f"{self._path} cannot be written: {problem.strerror}",
                hint="Nothing more was done to the box. Make room, then run the command again.",
            ) from problem

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
