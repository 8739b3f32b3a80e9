"""The UARTs of the box under test: recorded whether or not anybody looks."""

from __future__ import annotations

import re

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import BoxDied, DeadlineExpired
from harness.target import Target, World
from provisioning.trustbox import TrustBox


@pytest.fixture
def console_device(target: Target, by: Deadline) -> str:
    """The normal world's UART as the kernel knows it."""
    return (
        "/dev/" + target.shell.run("cat", "/sys/class/tty/console/active", by=by).text.split()[-1]
    )


def test_what_the_box_prints_is_expected_and_recorded(
    target: Target, by: Deadline, console_device: str
) -> None:
    console = target.consoles[World.NORMAL]
    target.shell.run("sh", "-c", f"echo tell-tale 4711 >{console_device}", by=by)

    assert console.expect(re.compile(rb"tell-tale (\d+)"), by=by)[1] == b"4711"
    assert b"tell-tale 4711" in console.transcript()


def test_lines_are_told_apart_by_their_time(
    target: Target, by: Deadline, console_device: str
) -> None:
    console = target.consoles[World.NORMAL]
    target.shell.run("sh", "-c", f"echo before-the-mark >{console_device}", by=by)
    console.expect(re.compile(rb"before-the-mark\r?\n"), by=by)
    mark = Deadline.after(0).at
    target.shell.run("sh", "-c", f"echo after-the-mark >{console_device}", by=by)
    console.expect(re.compile(rb"after-the-mark\r?\n"), by=by)

    since = "\n".join(line.text for line in console.lines(since=mark))
    assert "after-the-mark" in since
    assert "before-the-mark" not in since


def test_a_flood_arrives_without_loss(target: Target, by: Deadline, console_device: str) -> None:
    console = target.consoles[World.NORMAL]
    script = f"seq -f 'flood %05g' 1 3000 >{console_device}; echo flood-end >{console_device}"
    target.shell.run("sh", "-c", script, by=by)
    console.expect(re.compile(rb"flood-end"), by=by)

    found = re.findall(rb"flood (\d{5})\r?\n", console.transcript())
    assert [int(number) for number in found[-3000:]] == list(range(1, 3001))


def test_what_does_not_come_is_waited_for_until_the_deadline_only(target: Target) -> None:
    with pytest.raises(DeadlineExpired, match="normal world's console"):
        target.consoles[World.NORMAL].expect(re.compile(rb"\0never"), by=Deadline.after(0.1))


@pytest.mark.needs(Capability.SECURE_CONSOLE, Capability.POWER, Capability.RESTORE)
def test_the_secure_world_is_recorded_from_its_first_line(box: TrustBox, by: Deadline) -> None:
    mark = Deadline.after(0).at
    box.target.rig.off()
    box.target.rig.on(by=by)

    said = [line.text for line in box.target.consoles[World.SECURE].lines(since=mark)]
    assert any("OP-TEE version" in text for text in said), said


@pytest.mark.needs(Capability.POWER, Capability.RESTORE)
def test_the_record_goes_on_over_a_power_cut(box: TrustBox, by: Deadline) -> None:
    console = box.target.consoles[World.NORMAL]
    before = console.transcript()
    box.target.rig.off()
    box.target.rig.on(by=by)

    after = console.transcript()
    assert after.startswith(before)
    assert b"U-Boot" in after[len(before) :]


@pytest.mark.needs(Capability.POWER, Capability.RESTORE)
def test_a_kernel_panic_ends_every_wait_and_is_quoted(box: TrustBox, by: Deadline) -> None:
    target = box.target
    target.shell.run("sh", "-c", "echo 1 >/proc/sys/kernel/sysrq", by=by)

    with pytest.raises(BoxDied, match="Kernel panic - not syncing: sysrq"):
        target.shell.run("sh", "-c", "echo c >/proc/sysrq-trigger; sleep 1000", by=by)
    with pytest.raises(BoxDied, match="Kernel panic"):
        target.consoles[World.NORMAL].expect(re.compile(rb"\0never"), by=by)
