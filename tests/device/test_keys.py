"""The PKCS#11 token in the box's TEE, driven from here."""

from __future__ import annotations

import hashlib

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import DeviceRefused, LinkError, Misuse, RigError, TokenRefused
from harness.secret import Secret
from provisioning.keys import key_id
from provisioning.token import verifies
from provisioning.token_state import TokenFlags
from provisioning.trustbox import TrustBox

pytestmark = pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE, Capability.RESTORE)

LABEL, SO, USER = "under-test", Secret(b"so-pin-6120"), Secret(b"user-pin-9344")


@pytest.fixture
def open_box(box: TrustBox, by: Deadline) -> TrustBox:
    """A box whose token is ours and open."""
    box.keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)
    box.keys.login(LABEL, USER, by=by)
    return box


def test_delivered_tokens_are_blank_and_one_becomes_ours(box: TrustBox, by: Deadline) -> None:
    delivered = box.keys.tokens(by=by)

    state = box.keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)

    assert not any(token.initialised for token in delivered)
    assert {token.tee_uuid for token in delivered} == {state.tee_uuid}
    assert (state.label, state.initialised, state.has_user_pin) == (LABEL, True, True)


def test_initialised_token_is_not_wiped_by_initialising_again(
    open_box: TrustBox, by: Deadline
) -> None:
    key, _ = open_box.keys.generate("device", by=by)

    with pytest.raises(Misuse, match="initialised already"):
        open_box.keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)

    assert open_box.keys.find("device", by=by) == key


def test_token_of_another_label_is_left_alone(open_box: TrustBox, by: Deadline) -> None:
    open_box.keys.initialise("second", so_pin=SO, user_pin=USER, by=by)

    labels = {token.label for token in open_box.keys.tokens(by=by) if token.initialised}
    assert labels == {LABEL, "second"}


def test_wrong_pin_is_refused_and_counted(open_box: TrustBox, by: Deadline) -> None:
    with pytest.raises(TokenRefused) as refusal:
        open_box.keys.login(LABEL, Secret(b"not-the-pin"), by=by)

    state = open_box.keys.state(LABEL, by=by)
    assert refusal.value.ckr == "CKR_PIN_INCORRECT"
    assert state is not None
    assert TokenFlags.USER_PIN_COUNT_LOW in state.flags


def test_last_try_is_left_to_a_person(open_box: TrustBox, by: Deadline) -> None:
    """Six wrong PINs of seven; then even the right one is not tried."""
    for _ in range(6):
        with pytest.raises(TokenRefused):
            open_box.keys.login(LABEL, Secret(b"not-the-pin"), by=by)

    with pytest.raises(TokenRefused, match="CKR_PIN_LOCKED") as refusal:
        open_box.keys.login(LABEL, USER, by=by)

    state = open_box.keys.state(LABEL, by=by)
    assert "Not tried" in refusal.value.diagnostics()
    assert state is not None
    assert TokenFlags.USER_PIN_LOCKED not in state.flags


def test_key_made_in_the_tee_signs(open_box: TrustBox, by: Deadline) -> None:
    key, new = open_box.keys.generate("device", by=by)

    signature = open_box.keys.sign(key, b"message", by=by)

    assert new
    assert verifies(key.public_key, signature, hashlib.sha256(b"message").digest())


def test_asking_twice_for_a_key_makes_one(open_box: TrustBox, by: Deadline) -> None:
    first, _ = open_box.keys.generate("device", by=by)

    again, new = open_box.keys.generate("device", by=by)

    assert (again, new) == (first, False)


def test_public_key_left_by_a_power_cut_is_replaced(open_box: TrustBox, by: Deadline) -> None:
    orphan, _ = open_box.keys.generate("device", by=by)
    open_box.keys.token.destroy("private", orphan.id, by=by)

    key, new = open_box.keys.generate("device", by=by)

    assert new
    assert key.spki != orphan.spki


def test_logging_out_takes_the_key_away(open_box: TrustBox, by: Deadline) -> None:
    key, _ = open_box.keys.generate("device", by=by)
    open_box.keys.logout(by=by)

    with pytest.raises(TokenRefused, match="CKR_USER_NOT_LOGGED_IN"):
        open_box.keys.sign(key, b"message", by=by)


def test_evidence_of_a_key_made_in_the_tee_has_no_fault(open_box: TrustBox, by: Deadline) -> None:
    key, _ = open_box.keys.generate("device", by=by)

    evidence = open_box.keys.evidence(key, by=by)

    assert evidence.faults() == ()
    assert evidence.probes[0].answer == "CKR_ATTRIBUTE_SENSITIVE"
    assert len(evidence.module_sha256) == 64
    assert evidence.tee_uuid == open_box.keys.tokens(by=by)[0].tee_uuid


def test_evidence_of_an_erased_key_is_refused(open_box: TrustBox, by: Deadline) -> None:
    key, _ = open_box.keys.generate("device", by=by)
    open_box.keys.erase(key, by=by)

    with pytest.raises(DeviceRefused):
        open_box.keys.evidence(key, by=by)


def test_erased_key_is_gone_with_its_certificate(open_box: TrustBox, by: Deadline) -> None:
    key, _ = open_box.keys.generate("device", by=by)
    open_box.keys.store_certificate(key, b"0\x03\x02\x01\x07", subject=b"0\x00", by=by)

    open_box.keys.erase(key, by=by)

    assert open_box.keys.find("device", by=by) is None
    assert open_box.keys.certificates(key, by=by) == ()


def test_second_certificate_takes_the_place_of_the_first(open_box: TrustBox, by: Deadline) -> None:
    key, _ = open_box.keys.generate("device", by=by)
    open_box.keys.store_certificate(key, b"0\x03\x02\x01\x07", subject=b"0\x00", by=by)

    open_box.keys.store_certificate(key, b"0\x03\x02\x01\x08", subject=b"0\x00", by=by)

    assert open_box.keys.certificates(key, by=by) == (b"0\x03\x02\x01\x08",)


@pytest.mark.needs(Capability.POWER)
def test_key_survives_a_power_cut(open_box: TrustBox, by: Deadline) -> None:
    key, _ = open_box.keys.generate("device", by=by)
    open_box.target.rig.off()
    open_box.target.rig.on(by=by)

    open_box.keys.close()
    open_box.keys.login(LABEL, USER, by=by)

    assert open_box.keys.find("device", by=by) == key


@pytest.mark.needs(Capability.POWER)
def test_power_cut_during_a_session_is_said_and_not_waited_for(
    open_box: TrustBox, by: Deadline
) -> None:
    key, _ = open_box.keys.generate("device", by=by)
    open_box.target.rig.off()

    with pytest.raises((LinkError, RigError)):
        open_box.keys.sign(key, b"message", by=by)


def test_id_of_a_key_is_the_boxs_and_the_purposes() -> None:
    ids = {
        key_id(serial, purpose, generation)
        for serial in ("TB-1", "TB-2")
        for purpose in ("device", "other")
        for generation in (1, 2)
    }

    assert len(ids) == 8
    assert {len(one) for one in ids} == {20}
