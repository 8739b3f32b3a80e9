"""Opening the console's shell where nobody answers: in time, and nothing stays open."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, Unreachable
from tests.links.faulty_line import Box


def test_nobody_at_the_other_end_is_unreachable_in_time(tmp_path: Path) -> None:
    box = Box(("sleep", "1000"), tmp_path).on()
    try:
        with pytest.raises((Unreachable, DeadlineExpired)) as caught:
            box.shell().run("true", by=Deadline.after(4))
        assert "console" in str(caught.value)
    finally:
        box.off()


def test_an_opening_that_runs_out_of_time_leaves_nothing_open(tmp_path: Path) -> None:
    box = Box(("sleep", "1000"), tmp_path).on()
    try:
        shell = box.shell()
        open_files = []
        for _ in range(3):
            with pytest.raises((Unreachable, DeadlineExpired)):
                shell.run("true", by=Deadline.after(1.5))
            open_files.append(len(list(Path("/proc/self/fd").iterdir())))
        assert len(set(open_files)) == 1
    finally:
        box.off()
