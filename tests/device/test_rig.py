"""What holds the box: power, and the way back to the state it was delivered in."""

from __future__ import annotations

import re
import time

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.target import Target, World
from provisioning.trustbox import TrustBox

BOOT_ID = "/proc/sys/kernel/random/boot_id"


@pytest.mark.needs(Capability.POWER, Capability.RESTORE)
def test_power_makes_a_new_boot_of_the_same_box(box: TrustBox, by: Deadline) -> None:
    target = box.target
    first, identity = target.shell.read(BOOT_ID, by=by), host_key(target, by)
    target.rig.off()
    target.rig.on(by=by)

    assert target.shell.read(BOOT_ID, by=by) != first
    assert host_key(target, by) == identity


@pytest.mark.needs(Capability.POWER)
def test_power_that_is_on_is_left_alone(target: Target, by: Deadline) -> None:
    first = target.shell.read(BOOT_ID, by=by)
    target.rig.on(by=by)

    assert target.shell.read(BOOT_ID, by=by) == first


@pytest.mark.needs(Capability.POWER, Capability.RESTORE)
def test_power_can_be_cut_twice(box: TrustBox, by: Deadline) -> None:
    box.target.rig.off()
    box.target.rig.off()
    box.target.rig.on(by=by)

    assert box.target.shell.run("echo", "back", by=by).text == "back"


@pytest.mark.needs(Capability.RESTORE)
def test_a_restore_undoes_what_was_done_on_disk_and_in_memory(box: TrustBox, by: Deadline) -> None:
    box.target.shell.run("sh", "-c", "echo x >/root/disk; echo x >/run/memory", by=by)
    box.target.rig.restore(by=by)

    left = box.target.shell.run("ls", "/root/disk", "/run/memory", by=by, check=False)
    assert left.stdout == b""


@pytest.mark.needs(Capability.RESTORE)
def test_what_a_console_heard_before_a_restore_is_not_the_restored_box_s(
    box: TrustBox, by: Deadline
) -> None:
    """Or a panic of one life would be held against the next one."""
    console = box.target.consoles[World.NORMAL]
    box.target.shell.run("sh", "-c", "printf '\\nan earlier life\\n' >/dev/console", by=by)
    console.expect(re.compile(rb"an earlier life\r?\n"), by=by)
    before = [line.text for line in console.lines(since=console.began)]
    box.target.rig.restore(by=by)

    assert "an earlier life" in before
    assert "an earlier life" not in [line.text for line in console.lines(since=console.began)]


@pytest.mark.needs(Capability.RESTORE, Capability.POWER)
def test_a_box_without_power_can_be_restored(box: TrustBox, by: Deadline) -> None:
    box.target.rig.off()
    box.target.rig.restore(by=by)

    assert box.target.shell.run("echo", "back", by=by).text == "back"


@pytest.mark.needs(Capability.RESTORE)
def test_two_restores_do_not_repeat_their_randomness(box: TrustBox, by: Deadline) -> None:
    drawn: list[bytes] = []
    for _ in range(2):
        box.target.rig.restore(by=by)
        drawn.append(box.target.shell.run("head", "-c", "32", "/dev/urandom", by=by).stdout)

    assert drawn[0] != drawn[1]


def test_the_clock_is_right(target: Target, by: Deadline) -> None:
    before = time.time()
    told = float(target.shell.run("date", "+%s.%N", by=by).text)

    assert before - 2 < told < time.time() + 2


def test_the_rig_keeps_a_log(target: Target) -> None:
    assert isinstance(target.rig.log(), str)


def host_key(target: Target, by: Deadline) -> bytes:
    return target.shell.run("sh", "-c", "sha256sum /etc/ssh/ssh_host_*_key", by=by).stdout
