"""Secure-boot registers: what they mean, and that what was not read is never good."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.boot_registers import identify, in_order
from harness.boot_seen import of_registers
from harness.boot_state import BootState, Debug, Register, Ssm, decode
from harness.uboot_answers import swapped

FUSED = {
    Register.HPSR: 0x80000D00,
    Register.SCRATCHRW2: 0,
    Register.SVHESR: 0,
    Register.OSPR: 0x5,
    Register.OSPR1: 0x4,
}


def _state(**changed: int) -> BootState:
    values = FUSED | {Register[name]: value for name, value in changed.items()}
    return decode(values, soc="LS1012A", source="test")


def test_a_box_that_is_fused_and_verified_has_no_findings() -> None:
    state = _state()

    assert (state.ssm, state.otpmk_fused, state.its) == (Ssm.TRUSTED, True, True)
    assert (state.write_protected, state.debug) == (True, Debug.CLOSED)
    assert state.findings == ()
    assert state.secure is True


@pytest.mark.parametrize(("hpsr", "fused"), [(0x88002B00, False), (0x80002B00, True)])
def test_the_known_values_of_open_boxes_mean_what_the_maker_says(hpsr: int, fused: bool) -> None:
    state = _state(HPSR=hpsr)

    assert state.ssm is Ssm.NON_SECURE
    assert state.otpmk_fused is fused
    assert state.secure is False
    assert any("OTPMK not fused" in told for told in state.findings) is not fused


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"HPSR": 0x80000900}, "not verified: security monitor in state CHECK"),
        ({"HPSR": 0x80000300}, "violation: state SOFT_FAIL"),
        ({"HPSR": 0x80000100}, "violation: state HARD_FAIL"),
        ({"HPSR": 0x80000200}, "none that is known"),
        ({"HPSR": 0x81D0AB00}, "syndrome 0x1d0"),
        ({"SCRATCHRW2": 0x305}, "ISBC error 0x305"),
        ({"SVHESR": 0x68400}, "SVHESR 0x68400"),
        ({"OSPR": 0x1}, "ITS is not fused"),
        ({"OSPR": 0x4}, "can still be blown"),
        ({"OSPR1": 0x0}, "debug is open"),
        ({"OSPR1": 0x7}, "debug level in OSPR1 is none that is known"),
    ],
)
def test_what_is_not_as_it_should_be_is_told(changed: dict[str, int], told: str) -> None:
    assert any(told in finding for finding in _state(**changed).findings)


def test_nothing_read_is_absent_and_says_why() -> None:
    state = decode({}, soc=None, source="test", why_absent="no such SoC")

    assert state.absent
    assert state.secure is None
    assert state.findings == ("secure-boot state is absent: no such SoC",)
    assert set(state.to_dict()["registers"].values()) == {None}  # type: ignore[attr-defined]


@pytest.mark.parametrize("lacking", list(Register))
def test_a_register_that_was_not_read_is_named(lacking: Register) -> None:
    state = decode(
        {register: value for register, value in FUSED.items() if register is not lacking},
        soc="LS1046A",
        source="test",
    )

    assert f"not read: {lacking.value}" in state.findings


@pytest.mark.parametrize("lacking", [r for r in Register if r is not Register.SVHESR])
def test_without_its_registers_a_box_is_not_called_secure(lacking: Register) -> None:
    values = {register: value for register, value in FUSED.items() if register is not lacking}

    assert decode(values, soc="LS1012A", source="test").secure is None


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"OSPR": 0, "OSPR1": 0}, id="ITS unfused and JTAG open"),
        pytest.param({"OSPR": 0x1}, id="ITS unfused"),
        pytest.param({"OSPR1": 0x0}, id="JTAG open"),
        pytest.param({"OSPR1": 0x1}, id="JTAG closed on condition"),
        pytest.param({"HPSR": 0x80010D00}, id="OTPMK damaged"),
        pytest.param({"HPSR": 0x88000D00}, id="OTPMK not fused"),
        pytest.param({"SCRATCHRW2": 0x305}, id="ISBC error"),
    ],
)
def test_a_trusted_monitor_alone_is_no_verified_boot(changed: dict[str, int]) -> None:
    state = _state(**changed)
    seen = of_registers(state)

    assert state.secure is False
    assert seen is not None
    assert (seen.verified, seen.why) == (False, "; ".join(state.findings))
    assert state.findings


def test_a_fuse_that_is_known_to_be_wrong_is_enough() -> None:
    state = decode({Register.OSPR: 0}, soc="LS1012A", source="test")

    assert state.secure is False


@given(st.dictionaries(st.sampled_from(Register), st.integers(0, 2**32 - 1)))
def test_no_value_crashes_and_only_a_trusted_one_is_secure(values: dict[Register, int]) -> None:
    state = decode(values, soc="LS1012A", source="test")

    good = (state.its, state.debug, state.otpmk_syndrome) == (True, Debug.CLOSED, 0)
    assert state.secure is not True or (good and state.ssm in (Ssm.TRUSTED, Ssm.SECURE))
    assert all(finding.isprintable() for finding in state.findings)


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_what_has_no_32_bits_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="SFP_OSPR cannot be"):
        decode({Register.OSPR: value}, soc=None, source="test")


@pytest.mark.parametrize("hpsr", [0x88002B00, 0x80002B00, 0x81D0AB00, 0x80000D00, 0x80000F00])
def test_either_byte_order_of_the_registers_gives_the_same_state(hpsr: int) -> None:
    straight = FUSED | {Register.HPSR: hpsr}
    turned = {register: swapped(value) for register, value in straight.items()}

    assert in_order(straight) == straight
    assert in_order(turned) == straight


@pytest.mark.parametrize("hpsr", [0, 0xFFFFFFFF, 0x00090900, 0xDEADBEEF])
def test_an_order_that_is_in_doubt_gives_nothing(hpsr: int) -> None:
    assert in_order(FUSED | {Register.HPSR: hpsr}) is None


@pytest.mark.parametrize(
    ("texts", "name"),
    [
        (["ls1012a"], "LS1012A"),
        (["scalys,ls1012a-grapeboard", "fsl,ls1012a"], "LS1012A"),
        (["LS1046A", "ls1046ardb"], "LS1046A"),
    ],
)
def test_a_soc_is_known_by_its_names(texts: list[str], name: str) -> None:
    soc = identify(texts)

    assert soc is not None
    assert soc.name == name


@pytest.mark.parametrize("texts", [[], ["qemu-arm"], ["ls1028a"], ["ls1012a", "ls1046a"]])
def test_a_soc_that_is_not_known_or_in_doubt_is_none(texts: list[str]) -> None:
    assert identify(texts) is None
