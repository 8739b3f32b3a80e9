"""The ladder for a hung box: each rung against a box that only that rung brings back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from harness.bench_lab import lab_directory, line_key
from harness.bench_opening import hold_bench
from harness.bench_quarantine import quarantined
from harness.bench_recovery import Rung, recover
from harness.bench_rig import BenchRig
from harness.deadline import Deadline
from harness.errors import BoxDied, RigError
from tests.links.bench import BenchBox
from tests.links.bench_fixtures import SERIAL, power_line
from tests.links.power_server import PowerServer

pytestmark = pytest.mark.slow


@pytest.fixture
def rig(bench_box: BenchBox, pdu: PowerServer) -> Iterator[BenchRig]:
    by = Deadline.after(20)
    held = hold_bench(bench_box.config(power=power_line(pdu)), serial=SERIAL, by=by).rig
    assert isinstance(held, BenchRig)
    yield held
    held.close()


def climb(rig: BenchRig) -> tuple[Rung, ...]:
    return recover(
        rig, why="it does not answer", ssh_seconds=1.0, sign_seconds=2.0, boot_seconds=15.0
    )


def test_a_box_that_answers_costs_one_rung(rig: BenchRig, pdu: PowerServer) -> None:
    assert [(rung.name, rung.worked) for rung in climb(rig)] == [("SSH", True)]
    assert pdu.asked == []


def test_a_box_that_nobody_found_and_that_is_back_costs_one_rung(
    rig: BenchRig, bench_box: BenchBox
) -> None:
    bench_box.hang()
    with pytest.raises(BoxDied, match="nobody listens"):
        rig.vitals.examine()
    bench_box.sshd.reopen()

    assert [(rung.name, rung.worked) for rung in climb(rig)] == [("SSH", True)]
    rig.vitals.check()


def test_a_box_without_network_is_rebooted_by_sysrq(
    rig: BenchRig, bench_box: BenchBox, pdu: PowerServer
) -> None:
    def reboots(typed: bytes) -> None:  # a pty carries no break: only the keys arrive
        if b"b" in typed:
            bench_box.off()
            bench_box.on()

    bench_box.hears = reboots
    bench_box.hang()

    names = [(rung.name, rung.worked) for rung in climb(rig)]
    assert names == [("SSH", False), ("SysRq on the console", True)]
    assert pdu.asked == []


def test_a_box_that_panicked_is_not_taken_for_one_that_answers(
    rig: BenchRig, bench_box: BenchBox
) -> None:
    rig.vitals.report_death("Kernel panic - not syncing: test")
    bench_box.reboots = False
    rungs = climb(rig)

    assert not rungs[0].worked
    assert "Kernel panic" in rungs[0].said
    assert (rungs[-1].name, rungs[-1].worked) == ("power cycle", True)
    rig.vitals.check()


def test_a_box_whose_shell_still_works_is_told_to_reboot(
    rig: BenchRig, bench_box: BenchBox, pdu: PowerServer
) -> None:
    rig.vitals.report_death("somebody gave it up")
    rungs = climb(rig)

    assert (rungs[-1].name, rungs[-1].worked) == ("reboot command", True)
    assert rungs[-1].said.startswith("over SSH; booted anew")
    assert pdu.asked == []


def test_a_box_that_ignores_all_else_is_power_cycled(
    rig: BenchRig, bench_box: BenchBox, pdu: PowerServer
) -> None:
    bench_box.hang()
    rungs = climb(rig)

    assert [rung.name for rung in rungs] == [
        "SSH",
        "SysRq on the console",
        "reboot command",
        "power cycle",
    ]
    assert [rung.worked for rung in rungs] == [False, False, False, True]
    assert bench_box.cuts == 1
    assert all(f"recovery, {rung}" in rig.log() for rung in rungs)


def test_a_box_that_nothing_brings_back_is_quarantined(
    rig: BenchRig, bench_box: BenchBox, pdu: PowerServer
) -> None:
    pdu.switch = lambda path: 503
    bench_box.hang()
    with pytest.raises(RigError, match="could not be brought back and is in quarantine") as caught:
        climb(rig)

    mark = quarantined(lab_directory(rig.config.lab_directory), [line_key(bench_box.uart)])
    assert mark is not None
    assert mark.serial == SERIAL
    assert "it does not answer; SSH: " in mark.reason
    assert "power cycle: the power switch" in mark.reason
    assert "trustbox targets release bench-07" in caught.value.diagnostics()


def test_a_quarantined_bench_is_not_opened(
    rig: BenchRig, bench_box: BenchBox, pdu: PowerServer
) -> None:
    pdu.switch = lambda path: 503
    bench_box.hang()
    with contextlib.suppress(RigError):
        climb(rig)
    rig.close()

    with pytest.raises(RigError, match="bench-07 is in quarantine"):
        hold_bench(bench_box.config(), serial=SERIAL, by=Deadline.after(5))
