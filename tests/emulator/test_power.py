"""Power and death: what lasts over a power cut, and how the end of a box is noticed."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from emulator.rig import EmulatorRig
from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import BoxDied, LinkLost, RigError, TrustBoxError
from harness.secret import Secret
from provisioning.trustbox import TrustBox

AT_ONCE = 5.0
"""Seconds, on a busy machine: far below the minute that the deadlines here allow."""
SYNCED = "/etc/trustbox/mark"


@pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE)
def test_files_keys_and_identity_survive_a_power_cut(
    box: TrustBox, rig: EmulatorRig, by: Deadline
) -> None:
    """The SSH host key too: it is pinned, so nothing would answer with another one."""
    shell = box.target.shell
    box.keys.initialise("t", so_pin=Secret(b"so-pin-1234"), user_pin=Secret(b"12345678"), by=by)
    shell.write(SYNCED, b"here", by=by)
    uuid = box.info.look(by=by).tee_uuid

    rig.off()
    rig.on(by=by)

    assert shell.read(SYNCED, by=by) == b"here"
    with TrustBox(box.target) as later:
        assert [t.label for t in later.keys.tokens(by=by) if t.initialised] == ["t"]
        assert later.info.look(by=by).tee_uuid == uuid


def test_a_box_that_is_off_says_so(box: TrustBox, rig: EmulatorRig, by: Deadline) -> None:
    rig.off()
    rig.off()

    with pytest.raises(RigError, match="is off"):
        box.target.shell.run("true", by=by)


def test_giving_power_twice_changes_nothing(box: TrustBox, rig: EmulatorRig, by: Deadline) -> None:
    pid = rig.qemu_pid

    rig.on(by=by)

    assert rig.qemu_pid == pid
    assert box.target.shell.run("echo", "still", by=by).text == "still"


def test_a_killed_qemu_ends_a_running_command_at_once(
    box: TrustBox, rig: EmulatorRig, by: Deadline
) -> None:
    box.target.shell.run("true", by=by)
    pid = rig.qemu_pid
    assert pid is not None
    started = threading.Timer(0.5, os.kill, (pid, signal.SIGKILL))
    started.start()

    before = time.monotonic()
    with pytest.raises(BoxDied, match="QEMU ended with signal SIGKILL"):
        box.target.shell.run("sleep", "600", by=by)

    assert time.monotonic() - before < AT_ONCE
    with pytest.raises(BoxDied):
        box.target.shell.run("true", by=by)
    rig.on(by=by)
    assert box.target.shell.run("echo", "back", by=by).text == "back"


def test_a_kernel_panic_is_noticed_at_once_and_quoted(
    box: TrustBox, rig: EmulatorRig, by: Deadline
) -> None:
    box.target.shell.run("true", by=by)  # the time is the panic's, not the login's

    before = time.monotonic()
    with pytest.raises(BoxDied, match="Kernel panic - not syncing: sysrq triggered crash"):
        box.target.shell.run("sh", "-c", "echo c >/proc/sysrq-trigger; sleep 600", by=by)

    assert time.monotonic() - before < AT_ONCE
    with pytest.raises(BoxDied):  # power is on, and the box is dead all the same
        rig.on(by=by)
    rig.off()
    rig.on(by=by)
    assert box.target.shell.run("echo", "back", by=by).text == "back"


def test_a_box_that_switches_itself_off_is_dead(
    box: TrustBox, rig: EmulatorRig, by: Deadline
) -> None:
    with pytest.raises((BoxDied, LinkLost)):
        box.target.shell.run("sh", "-c", "poweroff -f; sleep 600", by=by)

    with pytest.raises(BoxDied, match=r"Power off|PANIC at PC|QEMU ended with status 0"):
        box.target.shell.run("true", by=by)


def test_a_box_that_reboots_itself_is_reached_again(
    box: TrustBox, rig: EmulatorRig, by: Deadline
) -> None:
    shell, boot_id = box.target.shell, "/proc/sys/kernel/random/boot_id"
    pid, before = rig.qemu_pid, shell.read(boot_id, by=by)

    with pytest.raises(TrustBoxError):
        shell.run("sh", "-c", "reboot -f; sleep 600", by=by)

    assert shell.read(boot_id, by=by) != before
    assert rig.qemu_pid == pid
