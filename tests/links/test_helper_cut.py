"""A connection that is cut while the helper starts is a lost link, and no box without a helper."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.agent_build import agent_name
from harness.deadline import Deadline
from harness.errors import DeviceRefused, LinkLost
from harness.helpers import Helpers
from harness.ssh import SshShell
from harness.target import Layout
from harness.vitals import Vitals

pytestmark = pytest.mark.timeout(60)


def starting(ssh: SshShell, vitals: Vitals, place: Path, script: str, by: Deadline) -> None:
    """With a helper that is ``script``."""
    place.chmod(0o700)
    helper = place / agent_name()
    helper.write_text(f"#!/bin/sh\n{script}\n")
    helper.chmod(0o700)
    layout = Layout(agent_directory=str(place))
    with Helpers(ssh, layout, vitals).held(by=by):
        raise AssertionError("it started")


def test_a_cut_connection_is_a_lost_link(
    ssh: SshShell, vitals: Vitals, by: Deadline, tmp_path: Path
) -> None:
    # Once the binary is on its way: before that the stream itself says so. What is cut is the
    # nearest ancestor that is sshd's, the session's own process.
    cut = (
        'echo "TBNEED $(uname -m)"; read -r size; '
        "p=$$; while [ $p -gt 1 ]; do read -r n </proc/$p/comm;"
        " case $n in sshd*) kill -9 $p; exit ;; esac; read -r s </proc/$p/stat; s=${s##*) };"
        " set -- $s; p=$2; done"
    )

    with pytest.raises(LinkLost, match="the connection broke while the helper started"):
        starting(ssh, vitals, tmp_path, cut, by)


def test_a_helper_that_ends_over_a_good_connection_is_the_boxs_refusal(
    ssh: SshShell, vitals: Vitals, by: Deadline, tmp_path: Path
) -> None:
    with pytest.raises(DeviceRefused, match="does not start"):
        starting(ssh, vitals, tmp_path, "exit 3", by)
