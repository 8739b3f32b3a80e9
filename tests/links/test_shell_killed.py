"""A program on the box that goes too far is killed: beyond the bound, or beyond its deadline."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExpired
from harness.ready import readable
from harness.ssh import SshShell


def test_a_command_that_closed_its_outputs_and_runs_on_is_killed_at_its_deadline(
    ssh: SshShell, tmp_path: Path, by: Deadline
) -> None:
    """It was a lost link, and the program ran on."""
    noted = tmp_path / "pid"
    script = f"echo $$ >{noted}; exec >&- 2>&-; exec sleep 600"
    ssh.run("true", by=by)
    with pytest.raises(DeadlineExpired, match="the exit status of"):
        ssh.run("sh", "-c", script, by=Deadline.after(1.5))
    try:
        running = os.pidfd_open(int(noted.read_text()))
    except ProcessLookupError:
        return
    ended = readable([running], 10)
    os.close(running)

    assert ended
