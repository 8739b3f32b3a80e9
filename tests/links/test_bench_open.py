"""Opening a bench, against real ends: what must be right before anything is done to a box."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from harness.bench_lock import BenchHeld
from harness.bench_opening import hold_bench
from harness.bench_rig import BenchRig
from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import (
    BoxDied,
    IntegrityFailure,
    MissingCapability,
    Misuse,
    RigError,
    TrustBoxError,
    UntrustedHost,
)
from harness.holding import Holding
from harness.target import EvidenceLevel, World
from harness.targets import open_target
from tests.links.bench import BenchBox
from tests.links.bench_fixtures import SERIAL, power_line
from tests.links.power_server import PowerServer
from tests.links.sshd import make_key

pytestmark = pytest.mark.slow

Hold = Callable[..., Holding]


@pytest.fixture
def hold(bench_box: BenchBox, pdu: PowerServer) -> Iterator[Hold]:
    """``hold(serial, **lines)`` opens the stand-in bench, and closes it after the test."""
    with ExitStack() as held:

        def opened(given: str | None = SERIAL, **lines: str) -> Holding:
            holding = hold_bench(bench_box.config(**lines), serial=given, by=soon())
            held.callback(holding.rig.close)
            return holding

        yield opened


def soon() -> Deadline:
    return Deadline.after(20)


def test_a_box_that_is_on_is_left_alone(hold: Hold, bench_box: BenchBox, pdu: PowerServer) -> None:
    holding = hold(power=power_line(pdu))

    assert holding.serial == SERIAL
    assert holding.rig_capabilities == {Capability.POWER}
    holding.rig.close()
    assert (pdu.asked, bench_box.is_on) == ([], True)


def test_a_bench_without_power_lacks_it(hold: Hold) -> None:
    holding = hold()
    rig = holding.rig

    assert holding.rig_capabilities == frozenset()
    with pytest.raises(MissingCapability, match="power"):
        rig.off()
    with pytest.raises(MissingCapability, match="restore"):
        rig.restore(by=soon())


def test_a_box_that_is_off_gets_power_and_loses_it_at_the_end(
    hold: Hold, bench_box: BenchBox, pdu: PowerServer
) -> None:
    bench_box.off()
    holding = hold(power=power_line(pdu))

    assert "U-Boot 2025.01" in holding.rig.log()
    assert b"Booting Linux" in holding.consoles[World.NORMAL].transcript()
    holding.rig.close()
    assert not bench_box.is_on


def test_a_box_with_another_serial_number_is_refused_and_untouched(
    hold: Hold, bench_box: BenchBox, pdu: PowerServer
) -> None:
    bench_box.write_serial("TB-0043")
    with pytest.raises(IntegrityFailure, match=r"reports serial number TB-0043 .*, not TB-0042"):
        hold(power=power_line(pdu))

    assert pdu.asked == []
    bench_box.write_serial(SERIAL)
    hold()  # nothing holds it any more


def test_a_box_that_reports_no_serial_number_is_refused(hold: Hold, bench_box: BenchBox) -> None:
    bench_box.write_serial("\x1b[2J")
    with pytest.raises(IntegrityFailure, match="reports no serial number"):
        hold()


def test_two_places_that_tell_two_serial_numbers_are_refused(
    hold: Hold, bench_box: BenchBox
) -> None:
    (bench_box.directory / "board").write_bytes(b"TB-0043\0")
    paths = f'["{bench_box.directory}/serial", "{bench_box.directory}/board"]'
    with pytest.raises(IntegrityFailure, match=r"TB-0043 .*board"):
        hold(serial_paths=paths)


@pytest.mark.parametrize(
    ("serial", "said"), [(None, "--serial"), ("TB-0044", "TB-0042 in its targets entry")]
)
def test_without_the_right_serial_number_nothing_is_touched(
    hold: Hold, bench_box: BenchBox, serial: str | None, said: str
) -> None:
    with pytest.raises(Misuse, match=said):
        hold(serial, serial=f'"{SERIAL}"', serial_url='"/dev/no-such-uart"')


def test_a_swapped_host_key_is_refused_with_both_fingerprints(
    hold: Hold, bench_box: BenchBox
) -> None:
    with pytest.raises(UntrustedHost) as caught:
        hold(host_key=f'"{make_key(bench_box.directory / "other")}"')

    assert caught.value.pinned != caught.value.offered
    assert "pin the new key" in caught.value.diagnostics()


def test_a_bench_that_is_open_cannot_be_opened_again(hold: Hold) -> None:
    hold()
    with pytest.raises(BenchHeld, match="this very process"):
        hold()


def test_the_same_box_under_another_name_is_taken_too(hold: Hold, bench_box: BenchBox) -> None:
    hold()
    text = bench_box.entry(serial_url='"/dev/null"').replace("bench-07", "bench-08")
    file = bench_box.directory / "other.toml"
    file.write_text(text)
    with (
        pytest.raises(BenchHeld, match=f"{SERIAL} is held by"),
        open_target("bench-08", serial=SERIAL, by=soon(), config=file),
    ):
        pass


def test_a_switch_that_can_only_cycle_is_asked_for_that(
    hold: Hold, bench_box: BenchBox, pdu: PowerServer
) -> None:
    rig = hold(power=f'{{ http = {{ cycle = "{pdu.url}/cycle" }} }}').rig
    assert isinstance(rig, BenchRig)
    evidence = rig.cycle(by=soon())

    assert not rig.has_power
    assert (bench_box.cuts, evidence.before != evidence.after) == (1, True)


def test_a_bench_with_a_restore_program_can_be_restored(
    hold: Hold, bench_box: BenchBox, pdu: PowerServer
) -> None:
    left = bench_box.directory / "left-behind"
    left.touch()
    program = f'{{ command = ["rm", "{left}"] }}'
    holding = hold(power=power_line(pdu), restore=program)

    assert Capability.RESTORE in holding.rig_capabilities
    holding.rig.restore(by=soon())
    assert not left.exists()


def test_a_restore_that_fails_is_an_error(hold: Hold, bench_box: BenchBox) -> None:
    rig = hold(restore='{ command = ["rm", "/no/such/file"] }').rig
    with pytest.raises(RigError, match="exited with 1: rm: cannot remove"):
        rig.restore(by=soon())


def test_an_open_bench_is_a_target_like_any_other(bench_box: BenchBox, pdu: PowerServer) -> None:
    file = bench_box.directory / "targets.toml"
    file.write_text(
        bench_box.entry(
            power=power_line(pdu),
            promises='["power", "streams"]',
            restore='{ command = ["true"] }',
        )
    )
    with open_target("bench-07", serial=SERIAL, by=Deadline.after(60), config=file) as target:
        assert target.shell.run("echo", "hello", by=soon()).text == "hello"
        assert target.evidence_level is EvidenceLevel.FUNCTIONAL
        assert Capability.POWER in target.capabilities
        assert not target.lasting  # whatever a reflash brings back, it is not all


def test_a_promise_that_the_box_does_not_keep_is_a_failure(bench_box: BenchBox) -> None:
    file = bench_box.directory / "targets.toml"
    file.write_text(bench_box.entry(promises='["pkcs11", "power", "streams"]'))
    with (
        pytest.raises(IntegrityFailure, match="promises pkcs11, power, and TB-0042"),
        open_target("bench-07", serial=SERIAL, by=Deadline.after(60), config=file),
    ):
        pass


def test_lasting_steps_are_permitted_for_the_very_box_only(bench_box: BenchBox) -> None:
    file = bench_box.directory / "targets.toml"
    file.write_text(bench_box.entry())
    with (
        pytest.raises(Misuse, match="--lasting TB-0043 permits nothing on bench-07"),
        open_target("bench-07", serial=SERIAL, lasting="TB-0043", by=soon(), config=file),
    ):
        pass
    by = Deadline.after(60)
    with open_target("bench-07", serial=SERIAL, lasting=SERIAL, by=by, config=file) as target:
        assert target.lasting


def test_an_opening_that_fails_leaves_no_box_switched_on_that_was_off(
    hold: Hold, bench_box: BenchBox, pdu: PowerServer
) -> None:
    def panics(path: str) -> int:
        if path.endswith("off"):
            bench_box.off()
        else:
            bench_box.is_on = True
            bench_box.says(b"U-Boot 2025.01\r\nKernel panic - not syncing: no root\r\n")
        return 200

    bench_box.off()
    pdu.switch = panics
    with pytest.raises(BoxDied, match="no root"):
        hold(power=power_line(pdu))

    assert not bench_box.is_on
    assert [path for _, path, _, _ in pdu.asked] == ["/on", "/off"]


def test_an_opening_that_fails_on_a_box_that_may_have_been_on_cuts_no_power(
    hold: Hold, bench_box: BenchBox, pdu: PowerServer
) -> None:
    bench_box.hang()
    with pytest.raises(TrustBoxError):
        hold_bench(bench_box.config(power=power_line(pdu)), serial=SERIAL, by=Deadline.after(2))

    assert [path for _, path, _, _ in pdu.asked] == ["/on"]
