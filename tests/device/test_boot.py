"""How the box under test boots: its stages on the consoles, its secure-boot state."""

from __future__ import annotations

import time

import pytest

from harness.boot_markers import Chain, Stage
from harness.boot_registers import read_in_linux
from harness.boot_stages import boot_since
from harness.capability import Capability
from harness.deadline import Deadline
from harness.target import Target
from provisioning.info import InfoSession
from provisioning.trustbox import TrustBox


@pytest.mark.needs(Capability.POWER, Capability.RESTORE)
def test_a_boot_shows_its_stages_in_order_and_with_times(box: TrustBox, by: Deadline) -> None:
    target = box.target
    target.rig.off()
    power_on = time.monotonic()
    target.rig.on(by=by)
    took = time.monotonic() - power_on

    boot = boot_since([uart.lines(since=power_on) for uart in target.consoles.values()], power_on)

    assert boot.chain is not Chain.UNKNOWN
    seen = [stage.stage for stage in boot.stages]
    assert seen == sorted(seen, key=lambda stage: stage.rank)
    assert {Stage.FIRST, Stage.MONITOR, Stage.OPTEE, Stage.UBOOT, Stage.KERNEL} <= set(seen)
    times = [stage.since for stage in boot.stages if stage.since is not None]
    assert len(times) == len(seen)
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= took
    assert all(stage.line.isprintable() for stage in boot.stages)


@pytest.mark.needs(Capability.POWER, Capability.RESTORE)
def test_a_boot_that_was_heard_tells_its_findings(box: TrustBox, by: Deadline) -> None:
    box.target.rig.off()
    box.target.rig.on(by=by)

    assert box.info.look(by=by)["boot: findings"] is not None


def test_secure_boot_state_that_linux_cannot_tell_is_absent_and_not_good(
    target: Target, by: Deadline
) -> None:
    state = read_in_linux(target.shell, by=by)

    assert (
        state.secure is not True
    )  # Linux shows fuses at most: never whether the boot was verified
    assert state.absent == (InfoSession(target).look(by=by)["fuses"] is None)
    assert state.findings
