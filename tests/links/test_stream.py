"""Long-lived streams over SSH, and how many there can be."""

from __future__ import annotations

import pytest

from harness.deadline import Deadline
from harness.errors import DeviceRefused, LinkLost
from harness.ssh import SshShell
from tests.links.sshd import LocalSshd


def test_a_stream_carries_bytes_both_ways_until_it_is_closed(ssh: SshShell, by: Deadline) -> None:
    stream = ssh.stream("cat", by=by)
    stream.send(b"x" * 100_000, by=by)
    back = b""
    while len(back) < 100_000:
        back += stream.receive(65536, by=by)
    stream.close()
    stream.close()

    assert back == b"x" * 100_000


def test_a_stream_ends_when_its_program_does(ssh: SshShell, by: Deadline) -> None:
    stream = ssh.stream("sh", "-c", "echo bye; echo why >&2", by=by)

    assert stream.receive(100, by=by) == b"bye\n"
    assert stream.receive(100, by=by) == b""
    assert stream.stderr() == "why"
    stream.close()


def test_a_stream_that_loses_its_link_says_so(ssh: SshShell, sshd: LocalSshd, by: Deadline) -> None:
    stream = ssh.stream("cat", by=by)
    sshd.drop()

    with pytest.raises(LinkLost, match="cat"):
        stream.receive(100, by=by)
    stream.close()


def test_more_sessions_than_the_server_gives_are_refused_with_the_reason(
    ssh: SshShell, by: Deadline
) -> None:
    streams = [ssh.stream("cat", by=by) for _ in range(20)]
    with pytest.raises(DeviceRefused, match="opens no further session") as caught:
        ssh.run("true", by=by)
    for stream in streams:
        stream.close()

    assert "MaxSessions" in caught.value.diagnostics()
    assert ssh.run("echo", "room again", by=by).text == "room again"
