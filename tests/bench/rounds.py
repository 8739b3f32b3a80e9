"""What ``make test-bench`` runs: one whole device suite for each way to a bench."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emulator import launch, registry
from emulator.bench_entry import toml
from emulator.box_store import remove_box
from harness.deadline import Deadline
from tests.bench.ser2net import serial_over_network

Entry = Mapping[str, Any]
START_SECONDS = 120.0
STOP_SECONDS = 30.0


@contextmanager
def as_it_is(entry: Entry, directory: Path) -> Iterator[Entry]:
    """The UART is a pty, as a USB adapter is a device."""
    yield entry


@dataclass(frozen=True, slots=True)
class Round:
    """One box and one way to it. ``way`` changes the targets entry, and nothing else."""

    name: str
    profile: str
    way: Callable[[Entry, Path], AbstractContextManager[Entry]]
    serial: str = field(init=False)

    def __post_init__(self) -> None:
        # A box of its own for each run: a bench's box cannot be put back to how it was delivered.
        unique = secrets.token_hex(3).upper()
        object.__setattr__(self, "serial", f"TB-{self.name.upper()}-{unique}")

    @contextmanager
    def bench(self, directory: Path, say: Callable[[str], None]) -> Iterator[Path]:
        """A targets file with the bench in it, which is there until the end. Raises RigError."""
        try:
            facts = launch.start(
                self.serial,
                seconds=START_SECONDS,
                profile=self.profile,
                as_bench=True,
                progress=say,
            )
            with self.way(facts["bench"], directory) as entry:
                file = directory / f"{self.name}.toml"
                file.write_text(toml(self.name, entry))
                yield file
        finally:
            if registry.is_kept(self.serial):
                launch.stop(self.serial, by=Deadline.after(STOP_SECONDS))
            remove_box(self.serial, by=Deadline.after(STOP_SECONDS))


def all_rounds() -> tuple[Round, ...]:
    return (
        Round("pty", "current", as_it_is),
        Round("rfc2217", "current", serial_over_network),
        Round("shipped", "shipped", as_it_is),
    )
