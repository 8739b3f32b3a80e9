"""What a box's SFTP server does wrong is told in our errors, and in time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import paramiko
import pytest

from harness.deadline import Deadline
from harness.errors import BadFrame, DeadlineExpired
from harness.history import History
from harness.ssh import SshShell
from harness.ssh_exec import NoMoreSessions
from harness.ssh_stream import SshStream
from harness.vitals import Vitals
from tests.links.sshd import LocalSshd

pytestmark = pytest.mark.slow

NOISY = """\
#!/bin/sh
echo "Welcome to this box"
exec /usr/lib/openssh/sftp-server
"""


@pytest.fixture
def own_sshd(tmp_path: Path) -> Iterator[LocalSshd]:
    """One whose settings a test may change."""
    sshd = LocalSshd(tmp_path)
    sshd.open()
    yield sshd
    sshd.close()


@pytest.fixture
def shell(own_sshd: LocalSshd) -> Iterator[SshShell]:
    shell = SshShell(own_sshd.endpoint, Vitals("the box"), History())
    yield shell
    shell.close()


def change(sshd: LocalSshd, old: str, new: str) -> None:
    settings = sshd.directory / "config"
    settings.write_text(settings.read_text().replace(old, new))


def test_a_start_file_that_prints_is_told_and_ends_no_command(
    shell: SshShell, own_sshd: LocalSshd, by: Deadline
) -> None:
    noisy = own_sshd.directory / "noisy"
    noisy.write_text(NOISY)
    noisy.chmod(0o755)
    change(own_sshd, "internal-sftp", str(noisy))
    for _ in range(2):
        with pytest.raises(BadFrame, match="what is no SFTP") as told:
            shell.read("/etc/hostname", by=by)

    assert ".bashrc" in told.value.diagnostics()
    assert shell.run("echo", "still", by=by).text == "still"


def test_a_server_without_a_session_left_for_files_is_no_lost_link(
    shell: SshShell, own_sshd: LocalSshd, by: Deadline
) -> None:
    change(own_sshd, "MaxSessions 20", "MaxSessions 1")
    with shell_stream(shell, by), pytest.raises(NoMoreSessions, match="no further session"):
        shell.read("/etc/hostname", by=by)

    assert shell.read("/etc/hostname", by=by) == Path("/etc/hostname").read_bytes()


def shell_stream(shell: SshShell, by: Deadline) -> closing[SshStream]:
    return closing(shell.stream("cat", by=by))


def test_a_file_whose_reading_blocks_takes_its_deadline_and_no_more(
    shell: SshShell, own_sshd: LocalSshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, pid = own_sshd.directory / "server", own_sshd.directory / "pid"
    server.write_text(f"#!/bin/sh\necho $$ >{pid}\nexec /usr/lib/openssh/sftp-server\n")
    server.chmod(0o755)
    change(own_sshd, "internal-sftp", str(server))
    stat = paramiko.SFTPFile.stat

    def stopped_after(file: paramiko.SFTPFile) -> paramiko.SFTPAttributes:
        answer = stat(file)
        os.kill(int(pid.read_text()), signal.SIGSTOP)
        return answer

    monkeypatch.setattr(paramiko.SFTPFile, "stat", stopped_after)
    shell.run("true", by=Deadline.after(20))
    began = time.monotonic()
    with pytest.raises(DeadlineExpired):
        shell.read("/etc/hostname", by=Deadline.after(3))
    seconds = time.monotonic() - began
    os.kill(int(pid.read_text()), signal.SIGKILL)

    assert seconds < 5.5
