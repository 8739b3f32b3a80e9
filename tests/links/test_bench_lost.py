"""A bench whose lock another process took over: the box is the new owner's, and left alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest

from harness.bench_lab import lab_directory, lab_keys, put
from harness.bench_lock import BenchHeld
from harness.bench_opening import hold_bench
from harness.bench_owner import Owner
from harness.bench_quarantine import quarantined
from harness.bench_recovery import recover
from harness.bench_rig import BenchRig
from harness.deadline import Deadline
from harness.errors import LinkLost, TrustBoxError
from harness.ssh_transport import connect
from tests.links.bench import BenchBox
from tests.links.bench_fixtures import SERIAL, power_line
from tests.links.power_server import PowerServer

pytestmark = pytest.mark.slow


def soon() -> Deadline:
    return Deadline.after(20)


@pytest.fixture
def typed(bench_box: BenchBox) -> list[bytes]:
    """What arrives on the box's console."""
    heard: list[bytes] = []
    bench_box.hears = heard.append
    return heard


@pytest.fixture
def lost(bench_box: BenchBox, pdu: PowerServer, typed: list[bytes]) -> Iterator[BenchRig]:
    """A rig that switched its box on, and whose bench somebody on another machine has now."""
    bench_box.off()
    config = bench_box.config(
        power=power_line(pdu), restore=f'{{ command = ["touch", "{bench_box.directory}/ran"] }}'
    )
    rig = hold_bench(config, serial=SERIAL, by=soon()).rig
    assert isinstance(rig, BenchRig)
    elsewhere = dataclasses.replace(Owner.here("bench-07"), machine="another", host="station-2")
    lab = lab_directory(config.lab_directory)
    put(lab / f"{lab_keys(config.line, SERIAL)[0]}.lock", elsewhere.as_dict())
    pdu.asked.clear()
    typed.clear()
    yield rig
    rig.close()


DOING: list[Callable[[BenchRig], object]] = [
    lambda rig: rig.off(),
    lambda rig: rig.on(by=soon()),
    lambda rig: rig.cycle(by=soon()),
    lambda rig: rig.restore(by=soon()),
    lambda rig: rig.reborn(0, by=soon()),
    lambda rig: rig.awake(by=soon()),
    lambda rig: connect(rig.endpoint, rig.vitals, by=soon()),
    lambda rig: recover(rig, why="it does not answer"),
]


def test_nothing_is_switched_typed_or_marked_on_a_bench_that_was_lost(
    lost: BenchRig, bench_box: BenchBox, pdu: PowerServer, typed: list[bytes]
) -> None:
    for do in DOING:
        lost.vitals.reset()  # what a rig that forgets would forget
        with pytest.raises(BenchHeld, match=r"was taken over by .*@station-2"):
            do(lost)
    with pytest.raises(LinkLost):
        lost.lines.main.send(b"x")
    lost.close()

    config = lost.config
    lab = lab_directory(config.lab_directory)
    assert (pdu.asked, typed, bench_box.is_on) == ([], [], True)
    assert not (bench_box.directory / "ran").exists()
    assert quarantined(lab, lab_keys(config.line, SERIAL)) is None
    assert (lab / f"{lab_keys(config.line, SERIAL)[0]}.lock").exists()


def test_a_bench_that_the_new_owner_gave_back_is_not_ours_again(
    lost: BenchRig, pdu: PowerServer
) -> None:
    config = lost.config
    (lab_directory(config.lab_directory) / f"{lab_keys(config.line, SERIAL)[0]}.lock").unlink()
    for _ in range(2):
        with pytest.raises(BenchHeld, match="was taken over by somebody"):
            lost.off()
    lost.close()

    assert pdu.asked == []


def test_a_bench_that_is_still_ours_is_switched_off_at_the_end(
    bench_box: BenchBox, pdu: PowerServer
) -> None:
    bench_box.off()
    rig = hold_bench(bench_box.config(power=power_line(pdu)), serial=SERIAL, by=soon()).rig
    rig.close()

    assert not bench_box.is_on


def test_a_bench_that_is_lost_while_sysrq_is_typed_gets_no_reboot(
    bench_box: BenchBox, pdu: PowerServer
) -> None:
    rig = hold_bench(bench_box.config(power=power_line(pdu)), serial=SERIAL, by=soon()).rig
    assert isinstance(rig, BenchRig)
    config, heard = rig.config, bytearray()
    lock = lab_directory(config.lab_directory) / f"{lab_keys(config.line, SERIAL)[1]}.lock"

    def hears(keys: bytes) -> None:
        heard.extend(keys)
        elsewhere = dataclasses.replace(Owner.here("x"), machine="another", host="station-2")
        put(lock, elsewhere.as_dict())

    bench_box.hears = hears
    bench_box.hang()
    with pytest.raises(TrustBoxError, match="was taken over"):
        recover(rig, why="it hung", ssh_seconds=1.0, sign_seconds=3.0, boot_seconds=5.0)
    rig.close()

    assert bytes(heard) == b"s"
    assert pdu.asked == []
