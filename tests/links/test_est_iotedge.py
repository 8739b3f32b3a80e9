"""IoT Edge's configuration on a box's file system, over a real shell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import BadInput, CommandFailed, DeviceRefused, IntegrityFailure
from harness.ssh import SshShell
from harness.target import Completed
from provisioning.iotedge import Applied, IotEdge
from tests.unit.test_iotedge import CONFIG

pytestmark = pytest.mark.slow


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture
def edge(ssh: SshShell, place: str) -> IotEdge:
    return IotEdge(ssh, path=f"{place}/aziot/config.toml")


class WithTool:
    """A shell whose box has an aziotctl of the test's making."""

    def __init__(self, ssh: SshShell, tool: Path, script: str) -> None:
        self._ssh, self._tool = ssh, tool
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)

    def run(self, *argv: str, by: Deadline, stdin: bytes = b"", check: bool = True) -> Completed:
        path = f"PATH={self._tool.parent}:/usr/bin:/bin"
        return self._ssh.run("env", path, *argv, by=by, stdin=stdin, check=check)

    def read(self, path: str, *, by: Deadline) -> bytes:
        return self._ssh.read(path, by=by)

    def write(self, path: str, data: bytes, *, by: Deadline, mode: int = 0o600) -> None:
        self._ssh.write(path, data, by=by, mode=mode)


def test_file_is_put_there_for_its_owner_alone_and_once(
    edge: IotEdge, place: str, by: Deadline
) -> None:
    assert edge.apply(CONFIG, by=by) == Applied(changed=True, by_aziotctl=False)
    assert edge.apply(CONFIG, by=by) == Applied(changed=False, by_aziotctl=False)

    file = Path(place, "aziot/config.toml")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes() == CONFIG.render().reveal()
    assert edge.check(by=by) == ""


def test_file_that_others_may_read_is_written_anew(edge: IotEdge, place: str, by: Deadline) -> None:
    edge.apply(CONFIG, by=by)
    file = Path(place, "aziot/config.toml")
    file.chmod(0o644)

    with pytest.raises(IntegrityFailure, match="mode 644"):
        edge.check(by=by)
    assert edge.apply(CONFIG, by=by).changed
    assert file.stat().st_mode & 0o777 == 0o600


def test_file_that_is_broken_or_absent_is_found(edge: IotEdge, place: str, by: Deadline) -> None:
    with pytest.raises(DeviceRefused, match="there is no"):
        edge.check(by=by)
    edge.apply(CONFIG, by=by)
    Path(place, "aziot/config.toml").write_text("[provisioning]\nsource = 'manual'\n")
    with pytest.raises(BadInput, match=r"provisioning\.source"):
        edge.check(by=by)


def test_aziotctl_applies_what_was_written(
    ssh: SshShell, place: str, tmp_path: Path, by: Deadline
) -> None:
    tool = tmp_path / "aziotctl"
    shell = WithTool(ssh, tool, f'echo "$@" >> {tmp_path}/called')
    edge = IotEdge(shell, path=f"{place}/aziot/config.toml")

    done = edge.apply(replace(CONFIG, hostname="other"), by=by)

    assert done == Applied(changed=True, by_aziotctl=True)
    assert (tmp_path / "called").read_text() == f"config apply -c {place}/aziot/config.toml\n"


def test_configuration_that_aziotctl_does_not_accept_is_a_refusal(
    ssh: SshShell, place: str, tmp_path: Path, by: Deadline
) -> None:
    shell = WithTool(ssh, tmp_path / "aziotctl", "echo no such slot >&2; exit 1")
    with pytest.raises(CommandFailed, match="no such slot"):
        IotEdge(shell, path=f"{place}/aziot/config.toml").apply(CONFIG, by=by)
