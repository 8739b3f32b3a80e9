"""A token's life, from blank to ours and back: the same claims for every module on the box."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import Misuse, TokenRefused
from harness.target import Target
from provisioning.keys import KeySession
from provisioning.pin_budget import MOST, PinBudget
from provisioning.token_state import TokenFlags
from tests.device.key_parts import LABEL, OTHER, SO, USER, WRONG

pytestmark = pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE, Capability.RESTORE)


def test_delivered_tokens_are_blank_and_one_becomes_ours(keys: KeySession, by: Deadline) -> None:
    """Whatever slot it then has: SoftHSM2 gives an initialised token a new one."""
    delivered = keys.tokens(by=by)

    state = keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)

    assert not any(token.initialised for token in delivered)
    assert {token.tee_uuid for token in delivered} == {state.tee_uuid}
    assert (state.label, state.initialised, state.has_user_pin) == (LABEL, True, True)
    assert keys.state(LABEL, serial=state.serial, by=by) == state
    assert keys.state(LABEL, serial="another", by=by) is None


def test_initialised_token_is_not_wiped_by_initialising_again(
    open_keys: KeySession, by: Deadline
) -> None:
    key, _ = open_keys.generate("device", by=by)

    with pytest.raises(Misuse, match="initialised already"):
        open_keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)

    assert open_keys.find("device", by=by) == key


def test_token_of_another_label_is_left_alone(open_keys: KeySession, by: Deadline) -> None:
    open_keys.initialise("second", so_pin=SO, user_pin=USER, by=by)

    labels = {token.label for token in open_keys.tokens(by=by) if token.initialised}
    assert labels == {LABEL, "second"}


def test_wrong_pin_is_refused_and_counted(open_keys: KeySession, by: Deadline) -> None:
    with pytest.raises(TokenRefused) as refusal:
        open_keys.login(LABEL, WRONG, by=by)

    state = open_keys.state(LABEL, by=by)
    assert refusal.value.ckr == "CKR_PIN_INCORRECT"
    assert state is not None
    assert TokenFlags.USER_PIN_COUNT_LOW in state.flags


def test_changed_pin_opens_and_the_old_one_does_not(open_keys: KeySession, by: Deadline) -> None:
    key, _ = open_keys.generate("device", by=by)

    open_keys.change_pin(LABEL, "user", USER, OTHER, by=by)

    with pytest.raises(TokenRefused, match="CKR_PIN_INCORRECT"):
        open_keys.login(LABEL, USER, by=by)
    open_keys.login(LABEL, OTHER, by=by)
    assert open_keys.find("device", by=by) == key


def test_changed_so_pin_sets_a_forgotten_user_pin_and_keys_stay(
    open_keys: KeySession, by: Deadline
) -> None:
    key, _ = open_keys.generate("device", by=by)

    open_keys.change_pin(LABEL, "so", SO, OTHER, by=by)
    open_keys.token.reset_user_pin(LABEL, OTHER, WRONG, by=by)

    open_keys.login(LABEL, WRONG, by=by)
    assert open_keys.find("device", by=by) == key


def test_token_is_wiped_only_with_permission(open_keys: KeySession, by: Deadline) -> None:
    open_keys.generate("device", by=by)
    forbidden = KeySession(replace(open_keys.target, lasting=False), open_keys.module)

    with pytest.raises(Misuse, match="cannot be undone"):
        forbidden.wipe(LABEL, so_pin=SO, user_pin=USER, by=by)

    assert open_keys.find("device", by=by) is not None


def test_permitted_wipe_takes_keys_and_pins_and_keeps_the_label(
    lasting: Target, open_keys: KeySession, by: Deadline
) -> None:
    open_keys.generate("device", by=by)

    state = open_keys.wipe(LABEL, so_pin=SO, user_pin=OTHER, by=by)

    open_keys.login(LABEL, OTHER, by=by)
    assert state.label == LABEL
    assert open_keys.find("device", by=by) is None


def test_own_count_of_wrong_pins_stops_before_the_token_does(
    open_keys: KeySession, tmp_path: Path, by: Deadline
) -> None:
    """SoftHSM2 never locks a PIN and OP-TEE does at the seventh: this one stops after the fifth."""
    open_keys.token.budget = PinBudget(tmp_path)
    for _ in range(MOST):
        with pytest.raises(TokenRefused, match="CKR_PIN_INCORRECT"):
            open_keys.login(LABEL, WRONG, by=by)

    with pytest.raises(TokenRefused, match="CKR_PIN_LOCKED") as refused:
        open_keys.login(LABEL, USER, by=by)

    assert "5 wrong ones in a row" in refused.value.diagnostics()
