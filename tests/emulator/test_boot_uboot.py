"""U-Boot on the console of a real boot: caught, asked over a good line and a bad one, let go."""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator

import pytest

from emulator.opening import hold_own
from harness.boot_markers import Chain, Stage
from harness.boot_registers import Soc, read_in_uboot
from harness.boot_stages import boot_since
from harness.boot_state import Debug, Register, Ssm
from harness.deadline import Deadline
from harness.errors import BadFrame, DeadlineExpired, DeviceRefused, LinkLost, Misuse
from harness.holding import Holding
from harness.target import Console, ConsoleLine, World
from harness.uboot import UBoot
from harness.uboot_answers import swapped
from harness.uboot_session import held_in_uboot

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SERIAL = f"TB-UBOOT-{os.environ.get('PYTEST_XDIST_WORKER', 'gw0').upper()}"
DEVICE_TREE_AT = 0x40000000
FREE_RAM = 0x50000000
FDT_MAGIC = 0xD00DFEED


@pytest.fixture(scope="module")
def holding() -> Iterator[Holding]:
    """A box whose U-Boot counts down, so that it can be caught."""
    held = hold_own(name=SERIAL, serial=SERIAL, by=Deadline.after(200), autoboot_seconds=3)
    yield held
    held.rig.close()


@pytest.fixture(scope="module")
def uboot(holding: Holding) -> Iterator[UBoot]:
    """The box stopped in its U-Boot, for all tests that only ask it."""
    console = holding.consoles[World.NORMAL]
    with held_in_uboot(holding.rig, console, by=Deadline.after(200)) as caught:
        yield caught


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


class BadLine(Console):
    """A console of which some bytes are lost or changed, both ways, as on a long cable."""

    def __init__(self, console: Console, *, loss: float, flips: float, seed: int) -> None:
        self._console, self._loss, self._flips = console, loss, flips
        self._chance = random.Random(seed)  # noqa: S311 - noise, not a key
        self.harmed = 0

    @property
    def began(self) -> float:
        return self._console.began

    def expect(self, pattern: re.Pattern[bytes], *, by: Deadline) -> re.Match[bytes]:
        while True:
            came = self._harm(self._console.expect(pattern, by=by)[0])
            if found := pattern.search(came):
                return found

    def send(self, data: bytes) -> None:
        self._console.send(self._harm(data))

    def transcript(self) -> bytes:
        return self._console.transcript()

    def lines(self, *, since: float = 0.0) -> list[ConsoleLine]:
        return self._console.lines(since=since)

    def _harm(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            chance = self._chance.random()
            if chance < self._loss:
                self.harmed += 1
            elif chance < self._loss + self._flips:
                self.harmed += 1
                out.append(byte ^ 0x01)
            else:
                out.append(byte)
        return bytes(out)


def test_what_a_command_prints_comes_back_exactly(uboot: UBoot, by: Deadline) -> None:
    assert uboot.run("echo one; echo two three", by=by).text == "one\ntwo three\n"
    assert uboot.run("true", by=by).text == ""


def test_a_status_other_than_0_is_an_error(uboot: UBoot, by: Deadline) -> None:
    assert uboot.run("false", by=by, check=False).status == 1
    with pytest.raises(DeviceRefused, match="'false' ended with 1"):
        uboot.run("false", by=by)
    with pytest.raises(DeviceRefused, match="Unknown command 'no_such'"):
        uboot.read("no_such", by=by)


def test_a_prompt_inside_the_output_is_output(uboot: UBoot, by: Deadline) -> None:
    assert uboot.run("echo; echo '=> '; echo end", by=by).text == "\n=> \nend\n"


def test_u_boot_s_own_greeting_as_an_answer_is_no_restart(uboot: UBoot, by: Deadline) -> None:
    assert uboot.version is not None
    assert uboot.version in uboot.read("version", by=by).text


def test_what_cannot_be_typed_is_refused_before_it_is(uboot: UBoot, by: Deadline) -> None:
    for command in ("echo \x03", "echo a\rreset", "echo ü", "echo " + "x" * 300):
        with pytest.raises(Misuse):
            uboot.run(command, by=by)


def test_half_a_command_is_refused_and_hurts_nobody(uboot: UBoot, by: Deadline) -> None:
    with pytest.raises(BadFrame, match="did not run 'if true' to its end"):
        uboot.run("if true", by=by)

    assert uboot.run("echo still here", by=by).text == "still here\n"


def test_the_environment_is_the_box_s_own(uboot: UBoot, by: Deadline) -> None:
    variables = uboot.environment(by=by)

    assert variables["serial#"] == SERIAL
    assert variables["bootdelay"] == "3"


def test_memory_is_read_as_the_processor_sees_it(uboot: UBoot, by: Deadline) -> None:
    words = uboot.words(DEVICE_TREE_AT, 10, by=by)

    assert swapped(words[0]) == FDT_MAGIC
    assert len(words) == 10


def test_an_address_between_words_is_refused(uboot: UBoot, by: Deadline) -> None:
    with pytest.raises(Misuse, match="cannot read"):
        uboot.words(DEVICE_TREE_AT + 2, 1, by=by)


def test_registers_that_the_box_has_not_are_absent_and_not_touched(
    uboot: UBoot, by: Deadline
) -> None:
    """Reading them would end this U-Boot: that it answers afterwards is the proof."""
    state = read_in_uboot(uboot, by=by)

    assert state.absent
    assert state.secure is None
    assert "not one of a SoC that is known" in state.findings[0]
    assert uboot.run("echo alive", by=by).text == "alive\n"


@pytest.mark.parametrize("turned", [True, False], ids=["as the processor reads", "straight"])
def test_registers_are_read_and_decoded_where_the_soc_is_known(
    uboot: UBoot, by: Deadline, turned: bool
) -> None:
    """RAM plays the registers: typing, md and decoding are those of a real board."""
    values = {
        Register.HPSR: 0x88002B00,
        Register.SCRATCHRW2: 0,
        Register.SVHESR: 0,
        Register.OSPR: 0x4,
        Register.OSPR1: 0x2,
    }
    places = {register: FREE_RAM + 0x40 * at for at, register in enumerate(values)}
    soc = Soc("LS-test", re.compile("ls-test"), places)
    for register, value in values.items():
        word = swapped(value) if turned else value
        uboot.run(f"mw.l 0x{places[register]:x} 0x{word:x}", by=by)
    uboot.run("setenv soc ls-test", by=by)
    try:
        state = read_in_uboot(uboot, by=by, socs=[soc])
    finally:
        uboot.run("setenv soc", by=by)

    assert state.registers == values
    assert (state.ssm, state.otpmk_fused, state.its) == (Ssm.NON_SECURE, False, True)
    assert state.debug is Debug.CLOSED_SILENT
    assert state.secure is False


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_over_a_bad_line_answers_are_right_or_refused(
    uboot: UBoot, holding: Holding, by: Deadline, seed: int
) -> None:
    true = uboot.environment(by=by)
    line = BadLine(holding.consoles[World.NORMAL], loss=2e-4, flips=2e-4, seed=seed)
    asked = UBoot(line)
    right = refused = 0
    for _ in range(12):
        try:
            right += asked.environment(by=by) == true
            words = asked.words(DEVICE_TREE_AT, 4, by=by)
            right += swapped(words[0]) == FDT_MAGIC
        except BadFrame:
            refused += 1
            right += 2
    assert right == 24
    assert refused < 6
    assert line.harmed > 0, "the line was never bad: this proved nothing"


def test_a_box_that_restarts_is_caught_again_and_boots_on_with_its_stages_timed(
    by: Deadline,
) -> None:
    """Its own box: the one of the others stays where it is."""
    serial = f"{SERIAL}-ON"
    held = hold_own(name=serial, serial=serial, by=Deadline.after(200), autoboot_seconds=2)
    try:
        before = time.monotonic()
        with held_in_uboot(held.rig, held.consoles[World.NORMAL], by=by) as caught:
            with pytest.raises(LinkLost, match="U-Boot restarted under 'reset'"):
                caught.run("reset", by=by)
            caught.catch(by=by)
            assert caught.run("echo 4711", by=by).text == "4711\n"
        boot = boot_since([held.consoles[world].lines(since=before) for world in World], before)

        assert (boot.chain, boot.stopped) == (Chain.TFA, None)
        assert [seen.stage for seen in boot.stages] == list(Stage)
        assert boot.seconds is not None
        assert boot.seconds <= time.monotonic() - before
    finally:
        held.rig.close()


def test_u_boot_that_stops_for_no_key_is_told_at_once_and_boots_on(by: Deadline) -> None:
    """``bootdelay=-2`` is U-Boot's way to look for no key at all."""
    serial = f"{SERIAL}-FAST"
    held = hold_own(name=serial, serial=serial, by=Deadline.after(200), autoboot_seconds=-2)
    try:
        with (
            pytest.raises(DeviceRefused, match="did not stop for a key"),
            held_in_uboot(held.rig, held.consoles[World.NORMAL], by=by),
        ):
            pytest.fail("it was never held")
        held.rig.on(by=by)  # is on already: nothing happens, and BoxDied if it were dead
        assert b"login:" in held.consoles[World.NORMAL].transcript()[-200:]
    finally:
        held.rig.close()


def test_what_never_greets_is_waited_for_until_the_deadline_only(
    uboot: UBoot, holding: Holding
) -> None:
    silent = UBoot(BadLine(holding.consoles[World.NORMAL], loss=1.0, flips=0.0, seed=0))

    with pytest.raises(DeadlineExpired, match="U-Boot's greeting"):
        silent.catch(by=Deadline.after(0.3))
