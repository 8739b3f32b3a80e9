"""Boxes that could not be brought back: a mark with the reason, until a person lifts it."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.bench_lab import get, put
from harness.bench_owner import Owner, when
from harness.errors import RigError
from harness.shown import printable

_KEY = re.compile(r"(?:line|serial)-[A-Za-z0-9._-]{1,80}", re.ASCII)


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


def quarantine(directory: Path, keys: Sequence[str], *, serial: str, reason: str) -> None:
    """Mark bench and box: ``keys`` are ``bench_lab.mark_keys``. Raises RigError when that fails."""
    owner = Owner.here("")
    mark = {
        "serial": serial,
        "reason": reason[:1000],
        "since": time.time(),
        "by": f"{owner.user}@{owner.host}",
        "keys": list(keys),
    }
    for key in keys:
        put(_path(directory, key), mark)


def quarantined(directory: Path, keys: Sequence[str]) -> Quarantine | None:
    """The first mark, None when there is none. One that cannot be read counts as a mark."""
    found = (get(_path(directory, key)) for key in keys)
    values = next((values for values in found if values is not None), None)
    if values is None:
        return None
    return Quarantine(
        _text(values, "serial"),
        _text(values, "reason"),
        when(values.get("since")) or 0.0,
        _text(values, "by"),
    )


def refuse(directory: Path, keys: Sequence[str], name: str) -> None:
    """Raises RigError with the reason when the bench is in quarantine; ``name`` is for people."""
    mark = quarantined(directory, keys)
    if mark is not None:
        raise RigError(
            f"{name} is in quarantine: {mark}",
            hint="Look at the box; when it is well: trustbox targets release"
            f" {name} --serial {mark.serial}",
        )


def release(directory: Path, keys: Sequence[str]) -> Quarantine | None:
    """Lift the mark, on bench and box; returns what it said, None when there was none.

    Raises RigError.
    """
    mark = quarantined(directory, keys)
    together = [other for key in keys for other in _with(directory, key)]
    for key in dict.fromkeys([*keys, *together]):
        try:
            _path(directory, key).unlink(missing_ok=True)
        except OSError as problem:
            raise RigError(f"{_path(directory, key)}: {problem.strerror}") from problem
    return mark


def _with(directory: Path, key: str) -> list[str]:
    """The keys that were marked together with that one."""
    others = (get(_path(directory, key)) or {}).get("keys")
    if not isinstance(others, list):
        return []
    return [other for other in others[:4] if isinstance(other, str) and _KEY.fullmatch(other)]


def _path(directory: Path, key: str) -> Path:
    return directory / f"{key}.quarantine"


def _text(values: dict[str, object], key: str) -> str:
    value = values.get(key)
    return printable(value)[:2000] if isinstance(value, str) else "unknown"
