"""An emulated box that is presented as a bench, for one module of tests, and ways to ask it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from emulator import bench_entry, launch, registry
from harness.config import choose_bench
from harness.config_bench import BenchConfig
from harness.deadline import Deadline
from harness.errors import Unreachable
from harness.history import History
from harness.ssh import SshShell
from harness.vitals import Vitals

# A kept box is one box on one disk: each parallel worker needs one of its own.
SERIAL = f"TB-BENCH-{os.environ.get('PYTEST_XDIST_WORKER', 'gw0').upper()}"
NAME = "bench-07"


@dataclass(frozen=True, slots=True)
class Presented:
    """What the keeper said of itself, and the targets file with the bench's entry."""

    facts: dict[str, object]
    file: Path

    @property
    def config(self) -> BenchConfig:
        return choose_bench(NAME, self.file)


@pytest.fixture(scope="module")
def presented(request: pytest.FixtureRequest) -> Iterator[Presented]:
    """On, until the module's end; its runtime directory is this module's own.

    A module's ``AUTOBOOT_SECONDS`` is U-Boot's countdown, which every boot then takes.
    """
    countdown: int | None = getattr(request.module, "AUTOBOOT_SECONDS", None)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="tb-") as home:
        # A name that is short enough for sockets.
        patch.setenv("XDG_RUNTIME_DIR", home)
        patch.setenv("TRUSTBOX_LAB", f"{home}/lab")
        facts = launch.start(SERIAL, seconds=100, as_bench=True, autoboot_seconds=countdown)
        file = Path(home) / "targets.toml"
        file.write_text(bench_entry.toml(NAME, facts["bench"]))
        yield Presented(facts, file)
        if registry.is_kept(SERIAL):
            launch.stop(SERIAL, by=Deadline.after(30))


@pytest.fixture(scope="module")
def bench(presented: Presented) -> BenchConfig:
    """What a targets file says of the box; nothing else of it is used by most tests here."""
    return presented.config


def ask(*, power: str) -> None:
    registry.ask(SERIAL, "power", by=Deadline.after(30), state=power)


def boot_id(bench: BenchConfig) -> bytes:
    """As soon as the box is up."""
    by = Deadline.after(100)
    while True:
        try:
            return asked(bench, "cat", "/proc/sys/kernel/random/boot_id", by=by)
        except Unreachable:
            by.left("the box to come up")


def asked(bench: BenchConfig, *argv: str, by: Deadline, stdin: bytes = b"") -> bytes:
    with shell_of(bench) as shell:
        return shell.run(*argv, by=by, stdin=stdin).stdout


@contextmanager
def shell_of(bench: BenchConfig) -> Iterator[SshShell]:
    """On a connection of its own, which is made by the first command."""
    shell = SshShell(lambda: bench.endpoint, Vitals(NAME), History())
    try:
        yield shell
    finally:
        shell.close()
