"""What says that a box's identity is not its own, and what does not."""

from __future__ import annotations

from uuid import uuid4

import pytest

from harness.boot_findings import findings
from harness.boot_state import Register, decode
from provisioning.shared_identity import boot_was_heard, shared_identity
from provisioning.verdict import ZERO_HUK_UUID
from tests.unit.boot_logs import EDGE_SECURE, EDGE_UNFUSED, EDGEXL, EMULATED_SECURE, timed

pytestmark = pytest.mark.integrity
NOTHING = decode({}, soc=None, source="nobody")
FUSED = {Register.HPSR: 0x80000F00, Register.OSPR: 0x4}


@pytest.mark.case("N-46", expect="each line that only an unfused box prints refuses it")
def test_the_log_of_an_unfused_box_says_that_its_identity_is_shared() -> None:
    why = shared_identity(findings(timed(EDGE_UNFUSED)), NOTHING, uuid4())

    assert len(why) == 4
    assert "'Continuing with non-secret testing identity'" in why[-1]


@pytest.mark.case("N-46", expect="refused by registers and TEE UUID, without a log")
@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({Register.HPSR: 0x88002B00}, "OTPMK is not fused"),
        ({Register.HPSR: 0x80000900}, "in state CHECK"),
        ({Register.HPSR: 0x80000B00}, "in state NON_SECURE"),
        ({Register.OSPR: 0x0}, "ITS is not fused"),
    ],
)
def test_registers_of_an_unfused_box_say_it(values: dict[Register, int], word: str) -> None:
    why = shared_identity((), decode(values, soc="LS1012A", source="U-Boot"), None)

    assert any(word in sentence for sentence in why)


@pytest.mark.case("N-46", expect="refused by its TEE UUID")
def test_the_tee_uuid_of_an_all_zero_key_says_it() -> None:
    assert "all-zero hardware unique key" in shared_identity((), NOTHING, ZERO_HUK_UUID)[0]


@pytest.mark.parametrize("log", [EDGEXL, EDGE_SECURE], ids=["EdgeXL", "Edge, secure boot"])
def test_nothing_is_held_against_a_fused_box(log: str) -> None:
    state = decode(FUSED, soc="LS1046A", source="U-Boot")

    assert shared_identity(findings(timed(log)), state, uuid4()) == ()


def test_what_was_not_seen_is_not_held_against_a_box() -> None:
    assert shared_identity(findings(EMULATED_SECURE), NOTHING, None) == ()


@pytest.mark.parametrize("log", [EDGEXL, EDGE_SECURE, EDGE_UNFUSED])
def test_a_boots_log_is_a_boot_that_was_heard(log: str) -> None:
    assert boot_was_heard(timed(log))


@pytest.mark.parametrize("log", ["", "tb-0042 login: ", "root@tb-0042:~# uname"])
def test_a_prompt_alone_is_no_boot_that_was_heard(log: str) -> None:
    assert not boot_was_heard(timed(log))
