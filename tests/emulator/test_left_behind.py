"""However a harness ends, nothing of it stays: no QEMU, no directory."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emulator import run_dir
from harness.deadline import Deadline

pytestmark = pytest.mark.timeout(120)

HEARS_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
"""
"""A job that a script put into the background, as CI does, begins with Ctrl-C ignored."""
FORGETFUL = """
import signal
from emulator.opening import hold
from harness.deadline import Deadline

holding = hold(name="held", serial="TB-EMU-0001", fresh=True, by=Deadline.after(100))
print("QEMU", holding.rig.qemu_pid, flush=True)
signal.pause()
"""
TIDY = FORGETFUL.replace(
    "signal.pause()",
    """
try:
    signal.pause()
finally:
    holding.rig.close()
""",
)
BOOTS = """
import emulator.rig
from emulator.opening import hold_box
from emulator.box_store import open_box
from emulator.build import ensure_image
from emulator.life import Life
from harness.deadline import Deadline

by = Deadline.after(100)
rig = hold_box(open_box("TB-EMU-0001", ensure_image(progress=print), by=by), name="held").rig

class ToldLife(Life):
    def run(self, *, by):
        super().run(by=by)
        print("QEMU", self.pid, flush=True)

emulator.rig.Life = ToldLife
rig.on(by=by)
"""


Start = Callable[[str], tuple[int, list[int]]]
"""From a program to its process and the pidfds of QEMU and whatever else it started."""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the run directories of this test are."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "trustbox"


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Starts a harness; it must not outlive the test even when the test fails."""
    harnesses: list[subprocess.Popen[str]] = []

    def start_one(source: str) -> tuple[int, list[int]]:
        harness = subprocess.Popen(
            [sys.executable, "-c", HEARS_CTRL_C + source],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        harnesses.append(harness)
        assert harness.stdout is not None
        for line in harness.stdout:
            if line.startswith("QEMU "):
                children = Path(f"/proc/{harness.pid}/task/{harness.pid}/children")
                started = children.read_text().split()
                assert line.split()[1] in started
                return harness.pid, [os.pidfd_open(int(pid)) for pid in started]
        raise AssertionError(f"the harness ended with status {harness.wait()}")

    yield start_one
    for harness in harnesses:
        with harness:
            harness.kill()


def _all_gone(pidfds: list[int]) -> bool:
    """All of them have ended three seconds from now at the latest."""
    by = Deadline.after(3)
    for pidfd in pidfds:
        if not select.select([pidfd], [], [], max(0.0, by.at - time.monotonic()))[0]:
            return False
        os.close(pidfd)
    return True


def _run_dirs(home: Path) -> list[Path]:
    return list(home.glob("run-*"))


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda pid: os.kill(pid, signal.SIGINT), id="Ctrl-C"),
        pytest.param(lambda pid: os.killpg(pid, signal.SIGTERM), id="SIGTERM to its group"),
        pytest.param(lambda pid: os.killpg(pid, signal.SIGKILL), id="SIGKILL to its group"),
    ],
)
@pytest.mark.parametrize("source", [TIDY, FORGETFUL, BOOTS], ids=["tidy", "forgetful", "booting"])
def test_a_stopped_harness_leaves_nothing(
    home: Path, start: Start, source: str, end: Callable[[int], None]
) -> None:
    harness, started = start(source)
    assert len(_run_dirs(home)) == 1

    end(harness)

    assert _all_gone(started)
    assert _run_dirs(home) == []


def test_a_harness_that_fails_leaves_nothing(home: Path, start: Start) -> None:
    _, started = start(FORGETFUL.replace("signal.pause()", "raise ValueError"))

    assert _all_gone(started)
    assert _run_dirs(home) == []


def test_what_a_killed_harness_and_its_reaper_left_is_swept_at_the_next_start(home: Path) -> None:
    held = run_dir.new("held")
    left = home / "run-left"
    left.mkdir()
    (left / "lock").touch()
    (left / "disk.qcow2").touch()

    run_dir.sweep()

    assert _run_dirs(home) == [held.path]
    held.close()
    assert _run_dirs(home) == []


def test_a_directory_that_others_can_enter_is_refused(home: Path) -> None:
    home.mkdir(mode=0o755)
    home.chmod(0o755)

    with pytest.raises(Exception, match="not a directory that only you can enter"):
        run_dir.new("held")
