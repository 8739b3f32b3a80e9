"""What goes between a token's client and its worker: only plain values, and nothing malformed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadFrame
from provisioning.token_protocol import (
    Answer,
    Malformed,
    Request,
    pack_answer,
    pack_request,
    unpack_answer,
    unpack_request,
)
from provisioning.token_state import TokenFlags, TokenState

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 64), 1 << 64) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=4), inner),
    max_leaves=12,
)
SLOT = {
    "slot": 0,
    "description": "OP-TEE PKCS11 TA - TEE UUID ae4713e6-72ef-5e09-bf31-4419f61c9872",
    "label": "trustbox   ",
    "serial": "0000000000000000",
    "manufacturer": "Linaro",
    "model": "OP-TEE TA",
    "flags": 0x40D,
}


@given(st.dictionaries(st.text(min_size=4), PLAIN, max_size=4))
def test_requests_arrive_as_they_were_sent(arguments: dict[str, object]) -> None:
    assert unpack_request(pack_request(Request("sign", arguments))).arguments == arguments


@given(PLAIN)
def test_answers_arrive_as_they_were_sent(answer: object) -> None:
    assert unpack_answer(pack_answer(Answer(value=answer))).value == answer


@given(st.binary())
def test_noise_is_malformed_and_nothing_else(noise: bytes) -> None:
    with pytest.raises(Malformed):
        unpack_answer(noise + b"\n")


@pytest.mark.parametrize(
    "line",
    [
        b"{}\n",
        b'{"ok": 1, "ckr": "CKR_OK"}\n',
        b'{"ckr": "PIN"}\n',
        b'{"ok": 1.5}\n',
        b'{"ok": {"hex": "zz"}}\n',
        b'{"ok": 1}',
        b"[" * 100_000 + b"\n",
        b'{"ok": "' + b"x" * (1 << 20) + b'"}\n',
    ],
    ids=["empty", "two", "no-ckr", "fraction", "no-hex", "cut", "deep", "long"],
)
def test_answer_of_another_form_is_malformed(line: bytes) -> None:
    with pytest.raises(Malformed):
        unpack_answer(line)


def test_objects_cannot_be_sent() -> None:
    with pytest.raises(Malformed, match="object"):
        pack_answer(Answer(value=object()))


def test_slot_of_a_tee_tells_its_uuid_and_flags() -> None:
    state = TokenState.parse(SLOT)

    assert str(state.tee_uuid) == "ae4713e6-72ef-5e09-bf31-4419f61c9872"
    assert (state.label, state.initialised, state.has_user_pin) == ("trustbox", True, True)


def test_blank_token_has_no_label() -> None:
    """OP-TEE shows 32 asterisks for one."""
    assert TokenState.parse({**SLOT, "label": "*" * 32, "flags": 4}).label == ""


def test_unknown_flags_are_dropped() -> None:
    assert TokenState.parse({**SLOT, "flags": 0xFFFFFFFF}).flags == sum(TokenFlags)


@pytest.mark.parametrize(
    "damage",
    [
        {"slot": "0"},
        {"flags": None},
        {"label": "a\nb"},
        {"label": "x" * 65},
        {"model": 7},
        {"serial": "\u202e"},
    ],
)
def test_slot_with_a_field_of_another_form_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(BadFrame):
        TokenState.parse({**SLOT, **damage})


def test_slot_that_is_no_tees_has_no_uuid() -> None:
    assert TokenState.parse({**SLOT, "description": "SoftHSM slot ID 0x0"}).tee_uuid is None
