"""The journal of a record: a Ledger in a file, one JSON object a line, each synced.

::

    {"at", "run", "step", "phase": intent | done | already | checked | parked | failed, "said",
     "facts"?}

It tells people what happened; runs do not read it back: they look at the box. What was begun and
never ended is told to whoever comes next (``unended``).
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from provisioning.file_trouble import on_disk
from provisioning.ledger import Facts
from provisioning.private_files import sync_directory

_LONGEST = 1 << 20
_SETTLES = frozenset({"done", "already"})


def now() -> str:
    """UTC, ISO 8601, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


class Journal:
    """A Ledger. A line that was cut short (power, a full disk) stays, alone: the next one begins
    a line of its own. Raises Misuse for a path that cannot be used, DiskFailed.
    """

    def __init__(self, path: Path, run: str) -> None:
        self._run, self._path, self._file = run, path, -1
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with on_disk(path):
            self._file = os.open(path, flags, 0o600)
            sync_directory(path.parent)

    def begin(self, step: str, doing: str, facts: Facts | None = None) -> JournalAttempt:
        self.end(step, "intent", doing, facts)
        return JournalAttempt(self, step)

    def end(self, step: str, outcome: str, said: str, facts: Facts | None = None) -> None:
        entry: dict[str, object] = {"at": now(), "run": self._run, "step": step}
        entry |= {"phase": outcome, "said": said}
        if facts:
            entry["facts"] = dict(facts)
        line = json.dumps(entry, ensure_ascii=True).encode() + b"\n"
        with on_disk(self._path):
            if not self._whole():
                line = b"\n" + line
            while line:  # a disk that fills takes a part first
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)

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

    def _whole(self) -> bool:
        size = os.fstat(self._file).st_size
        return not size or os.pread(self._file, 1, size - 1) == b"\n"


@dataclass(frozen=True, slots=True)
class JournalAttempt:
    """An Attempt whose intent is a line of the journal."""

    journal: Journal
    step: str

    def done(self, said: str, facts: Facts | None = None) -> None:
        self.journal.end(self.step, "done", said, facts)

    def failed(self, said: str, facts: Facts | None = None) -> None:
        self.journal.end(self.step, "failed", said, facts)


@dataclass(frozen=True, slots=True)
class Begun:
    """An intent without an end: nobody knows how far it came."""

    at: str
    run: str
    step: str
    doing: str
    facts: Facts = field(default_factory=dict)

    @property
    def told(self) -> str:
        """In words, for whoever comes next."""
        return f"{self.step} was begun on {self.at} ({self.doing}) and never ended (run {self.run})"


def unended(path: Path, *, failed: bool = False) -> tuple[Begun, ...]:
    """What the journal says was begun and never ended, oldest first; nothing without a journal.

    An intent is ended by its own run, or by a later one that did the same step or found it done.
    ``failed``: with those that their own run could not bring to an end. Lines that are none are
    passed over. Raises Misuse and DiskFailed.
    """
    found: dict[tuple[str, str], Begun] = {}
    for line in _lines(path):
        match line:
            case {"run": str(run), "step": str(step), "phase": "intent", "said": str(doing)}:
                facts = line.get("facts")
                of = facts if isinstance(facts, dict) else {}
                found[run, step] = Begun(str(line.get("at", "")), run, step, doing, of)
            case {"run": str(run), "step": str(step), "phase": str(phase)}:
                ended = [key for key in found if key[1] == step and phase in _SETTLES]
                if not (failed and phase == "failed"):
                    ended.append((run, step))
                for key in ended:
                    found.pop(key, None)
    return tuple(found.values())


def _lines(path: Path) -> Iterator[dict[str, object]]:
    with on_disk(path, "read"):
        if not path.exists():
            return
        with path.open("rb") as file:
            while line := file.readline(_LONGEST):
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(entry, dict):
                    yield entry
