"""Both shells on the box under test, and what takes a box to show."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import BoxDied, DeviceRefused, LinkLost, TrustBoxError
from harness.target import Shell, Streams, Target
from provisioning.trustbox import TrustBox
from tests.shell_claims import ShellClaims


@pytest.fixture
def place(target: Target, by: Deadline) -> Iterator[str]:
    """A directory of this test's own on the box."""
    made = target.shell.run("mktemp", "-d", by=by).text
    yield made
    target.shell.run("rm", "-rf", made, by=Deadline.after(30))


class TestTheShell(ShellClaims):
    """Whatever the target gives as its shell: the helper, where it runs."""

    bulk = 1_000_000

    @pytest.fixture
    def shell(self, target: Target) -> Shell:
        return target.shell


@pytest.mark.needs(Capability.STREAMS)
class TestOverSsh(ShellClaims):
    """A channel for each command, as it is without the helper."""

    bulk = 1_000_000

    @pytest.fixture
    def shell(self, target: Target) -> Streams:
        assert target.streams is not None
        return target.streams


@pytest.mark.needs(Capability.AGENT)
def test_commands_go_through_the_helper(target: Target, by: Deadline) -> None:
    parent = target.shell.run("sh", "-c", "cat /proc/$PPID/comm", by=by).text

    assert parent.startswith("trustbox-agent")


def test_the_shell_is_roots(target: Target, by: Deadline) -> None:
    assert target.shell.run("id", "-u", by=by).text == "0"


def test_a_full_disk_is_named_and_the_old_file_stays(
    target: Target, by: Deadline, place: str
) -> None:
    target.shell.run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place, by=by)
    try:
        target.shell.write(f"{place}/file", b"old", by=by)
        with pytest.raises(DeviceRefused, match="no space left on the box for 1000000 bytes"):
            target.shell.write(f"{place}/file", b"x" * 1_000_000, by=by)

        assert target.shell.read(f"{place}/file", by=by) == b"old"
        assert target.shell.run("ls", "-A", place, by=by).text == "file"
    finally:
        target.shell.run("umount", place, by=by)


@pytest.mark.needs(Capability.POWER, Capability.RESTORE)
def test_a_box_that_loses_power_ends_a_running_command(box: TrustBox, by: Deadline) -> None:
    target = box.target
    target.shell.run("true", by=by)
    off = threading.Timer(1, target.rig.off)
    off.start()

    with pytest.raises((BoxDied, LinkLost)):
        target.shell.run("sleep", "1000", by=by)
    off.join()


@pytest.mark.needs(Capability.POWER, Capability.RESTORE)
def test_a_box_without_power_is_asked_in_vain(box: TrustBox) -> None:
    box.target.rig.off()

    with pytest.raises(TrustBoxError):
        box.target.shell.run("true", by=Deadline.after(2))


@pytest.mark.needs(Capability.POWER, Capability.RESTORE)
def test_after_a_power_cut_the_next_command_is_answered(box: TrustBox, by: Deadline) -> None:
    box.target.shell.run("touch", "/run/volatile", by=by)
    box.target.rig.off()
    box.target.rig.on(by=by)

    asked = box.target.shell.run("test", "-e", "/run/volatile", by=by, check=False)
    assert asked.status == 1


@pytest.mark.needs(Capability.RESTORE)
def test_after_a_restore_the_next_command_is_answered(box: TrustBox, by: Deadline) -> None:
    box.target.shell.write("/root/left-behind", b"x", by=by)
    box.target.rig.restore(by=by)

    asked = box.target.shell.run("test", "-e", "/root/left-behind", by=by, check=False)
    assert asked.status == 1


@pytest.mark.needs(Capability.POWER, Capability.RESTORE)
def test_a_written_file_survives_a_power_cut(box: TrustBox, by: Deadline) -> None:
    box.target.shell.write("/root/kept", b"through the cut", by=by, mode=0o640)
    box.target.rig.off()
    box.target.rig.on(by=by)

    assert box.target.shell.read("/root/kept", by=by) == b"through the cut"
