"""A pytest that is killed in mid-test leaves nothing behind: no QEMU, no disk, no lock."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.deadline import Deadline

pytestmark = pytest.mark.timeout(300)

HANGS = """
import signal

def test_hangs(box, by):
    box.target.shell.run("true", by=by)
    print("IN MID-TEST", flush=True)
    signal.pause()
"""
RUNS = """
def test_runs(box, by):
    assert box.target.shell.run("echo", "clean", by=by).text == "clean"
"""
MARK = "TRUSTBOX_SELFTEST"


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """An environment that marks every process of the run, with a runtime directory of its own."""
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    return {**os.environ, MARK: str(tmp_path), "XDG_RUNTIME_DIR": str(runtime)}


def marked(mark: str) -> Iterator[int]:
    """Processes of this machine that carry the mark in their environment."""
    wanted = f"{MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                yield int(entry.name)
        except OSError:
            continue  # it ended while it was looked at, or is somebody else's


def children(pid: int) -> set[int]:
    """Who was started by a process; some of them clean their environment."""
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def programs(pids: dict[int, int]) -> set[str]:
    return {Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids}


def start(directory: Path, source: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    (directory / "test_it.py").write_text(source)
    options = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:randomly", str(directory)]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *options],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_nothing_of_it_lives_three_seconds_later(
    tmp_path: Path, surroundings: dict[str, str]
) -> None:
    mark, boxes = str(tmp_path), tmp_path / "run/trustbox"
    with start(tmp_path, HANGS, surroundings) as run:
        assert run.stdout is not None
        assert any("IN MID-TEST" in line for line in run.stdout)
        alive = {pid: os.pidfd_open(pid) for pid in {*marked(mark), *children(run.pid)}}
        assert any(name.startswith("qemu-system") for name in programs(alive))
        assert list(boxes.glob("run-*"))

        run.send_signal(signal.SIGKILL)
        three_seconds = Deadline.after(3)
        for pid, descriptor in alive.items():
            what = f"process {pid} to end"
            assert select.select([descriptor], [], [], three_seconds.left(what))[0], what
            os.close(descriptor)

    assert list(marked(mark)) == []
    assert list(boxes.glob("run-*")) == []

    with start(tmp_path, RUNS, surroundings) as again:
        output = again.communicate(timeout=120)[0]
    assert "1 passed" in output
