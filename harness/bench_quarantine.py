"""Boxes that could not be brought back: a mark with the reason, until a person lifts it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from harness.bench_lab import get, put
from harness.bench_owner import Owner
from harness.errors import RigError
from harness.recording import printable


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why nobody may open a bench, since when (seconds of the epoch), and who found out."""

    serial: str
    reason: str
    since: float
    by: str

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.since))
        return f"{self.serial} since {when} by {self.by}: {self.reason}"


def quarantine(directory: Path, key: str, *, serial: str, reason: str) -> None:
    """Mark the bench with that ``bench_lab.line_key``. Raises RigError when that fails."""
    owner = Owner.here("")
    put(
        _path(directory, key),
        {
            "serial": serial,
            "reason": reason[:2000],
            "since": time.time(),
            "by": f"{owner.user}@{owner.host}",
        },
    )


def quarantined(directory: Path, key: str) -> Quarantine | None:
    """The mark, None when there is none. One that cannot be read counts as a mark."""
    values = get(_path(directory, key))
    if values is None:
        return None
    since = values.get("since")
    return Quarantine(
        _text(values, "serial"),
        _text(values, "reason"),
        float(since) if isinstance(since, int | float) else 0.0,
        _text(values, "by"),
    )


def refuse(directory: Path, key: str, name: str) -> None:
    """Raises RigError with the reason when the bench is in quarantine; ``name`` is for people."""
    mark = quarantined(directory, key)
    if mark is not None:
        raise RigError(
            f"{name} is in quarantine: {mark}",
            hint=f"Look at the box; when it is well: trustbox targets release {name}",
        )


def release(directory: Path, key: str) -> Quarantine | None:
    """Lift the mark; returns what it said, None when there was none. Raises RigError."""
    mark = quarantined(directory, key)
    try:
        _path(directory, key).unlink(missing_ok=True)
    except OSError as problem:
        raise RigError(f"{_path(directory, key)}: {problem.strerror}") from problem
    return mark


def _path(directory: Path, key: str) -> Path:
    return directory / f"{key}.quarantine"


def _text(values: dict[str, object], key: str) -> str:
    value = values.get(key)
    return printable(value)[:2000] if isinstance(value, str) else "unknown"
