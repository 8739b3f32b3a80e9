"""Build tools: what they print is kept, what goes wrong is told in one sentence, none stays."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.build_lock import build_lock
from emulator.running import Tools
from harness.deadline import Deadline
from harness.errors import BuildFailed


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(tmp_path / "log", Deadline.after(30), lambda line: None)


def test_a_failure_quotes_the_first_telling_line_and_names_the_log(tools: Tools) -> None:
    script = "echo compiling; echo 'main.c:1: error: no such thing'; echo leaving; exit 2"

    with pytest.raises(BuildFailed) as failed:
        tools.run("OP-TEE", "sh", "-c", script)

    assert failed.value.reason == "sh exited with 2: main.c:1: error: no such thing"
    assert str(tools.log) in failed.value.diagnostics()
    assert "compiling" in tools.log.read_text()


def test_an_answer_is_what_was_printed_without_the_complaints(tools: Tools) -> None:
    assert tools.ask("version", "sh", "-c", "echo 1.2; echo careful >&2") == "1.2\n"
    assert "careful" in tools.log.read_text()


def test_a_tool_that_is_not_installed_is_named(tools: Tools) -> None:
    with pytest.raises(BuildFailed, match="no-such-tool"):
        tools.run("TF-A", "no-such-tool")


def test_a_tool_that_does_not_end_fails_the_build_and_is_killed_with_its_children(
    tmp_path: Path,
) -> None:
    tools = Tools(tmp_path / "log", Deadline.after(2), lambda line: None)
    os.mkfifo(tmp_path / "held")
    held = os.open(tmp_path / "held", os.O_RDONLY | os.O_NONBLOCK)

    with pytest.raises(BuildFailed, match="did not end"):
        tools.run("TF-A", "sh", "-c", f"sleep 1000 > {tmp_path}/held & wait")

    # A FIFO reads as ended when the last process that had it open for writing is gone.
    with os.fdopen(held, "rb"):
        ended, _, _ = select.select([held], [], [], 30)
        assert ended == [held]


HOLDER = """
import sys
from pathlib import Path
from emulator.build_lock import build_lock
from harness.deadline import Deadline
with build_lock(Path(sys.argv[1]), Deadline.after(10), print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_builder_leaves_no_lock_and_who_waits_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        def kill(line: str) -> None:
            told.append(line)
            os.kill(holder.pid, signal.SIGKILL)

        with build_lock(tmp_path, Deadline.after(30), kill):
            pass

    assert told == ["another process works on the emulator image; waiting for it"]


def test_a_lock_that_is_never_free_is_a_failed_build(tmp_path: Path) -> None:
    with (
        build_lock(tmp_path, Deadline.after(1), lambda line: None),
        pytest.raises(BuildFailed, match="does not let go"),
        build_lock(tmp_path, Deadline.after(0.3), lambda line: None),
    ):
        pass
