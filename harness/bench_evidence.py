"""What shows that a bench's power switch did what it says: silence, rest, and another life."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from harness.bench_answer import answers
from harness.bench_lines import Lines
from harness.config_bench import BenchConfig
from harness.deadline import Deadline
from harness.errors import Unreachable

SILENCE_SECONDS = 3.0
"""Where the entry has no power switch, and so says nothing of it."""


@dataclass(frozen=True, slots=True)
class Cycled:
    """Evidence of a power cycle: boot ids (empty: not known), what the new boot said, seconds."""

    before: str
    after: str
    said: str
    seconds: float

    def __str__(self) -> str:
        told = f"boot id {self.before or 'unknown'} became {self.after}"
        return f"{told}, {self.said!r} on the console" if self.said else told


def alive(config: BenchConfig, lines: Lines, *, by: Deadline) -> str:
    """Empty once the box is off; else what of it still lives when time is up."""
    power = config.power
    quiet = power.silence_seconds if power is not None else SILENCE_SECONDS
    try:
        said = lines.fall_silent(quiet, by=by)
    except Unreachable as problem:
        return f"nobody can hear whether it is silent: {problem.message}"
    if said:
        return f"its console still talks: {said!r}"
    while answers(config.endpoint):
        if by.expired:
            return "it still answers as an SSH server"
        threading.Event().wait(0.2)
    return ""


def settle(config: BenchConfig, off_at: float, *, by: Deadline) -> None:
    """Let the supply rest as long as the entry says; ``off_at``: monotonic, 0 for never off."""
    power = config.power
    rest = off_at + power.settle_seconds - time.monotonic() if power else 0.0
    if off_at and rest > 0:
        threading.Event().wait(by.slice("the supply to settle", rest))
