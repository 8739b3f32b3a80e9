"""Keys in a token, driven from here: the same claims for every PKCS#11 module on the box."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import DeviceRefused, Misuse, TokenRefused
from provisioning.keys import KeySession, key_id
from provisioning.token import verifies
from provisioning.token_public import KeyProfile
from provisioning.token_secrets import LARGEST_DATA
from provisioning.token_template import STRICT, TOKENS_OWN, KeyTemplate

pytestmark = pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE, Capability.RESTORE)


@pytest.mark.parametrize("profile", [KeyProfile.EC_P256, KeyProfile.EC_P384], ids=lambda p: p.value)
def test_key_made_in_the_token_signs(
    held_keys: KeySession, profile: KeyProfile, by: Deadline
) -> None:
    key, new = held_keys.generate("device", profile, by=by)

    signature = held_keys.sign(key, b"message", by=by)

    assert (new, key.profile, key.template) == (True, profile, "strict")
    assert verifies(key.public_key, signature, hashlib.sha256(b"message").digest())


@pytest.mark.slow
@pytest.mark.parametrize(
    "profile",
    [KeyProfile.RSA_2048, pytest.param(KeyProfile.RSA_3072, marks=pytest.mark.long)],
    ids=lambda p: p.value,
)
def test_rsa_key_made_in_the_token_proves_itself(
    held_keys: KeySession, profile: KeyProfile
) -> None:
    """Minutes, because finding primes under emulation takes what it takes."""
    by = Deadline.after(110)

    key, _ = held_keys.generate("device", profile, by=by)

    assert key.profile is profile
    assert held_keys.evidence(key, by=by).faults() == ()


def test_kind_of_key_that_the_token_cannot_make_is_said_and_leaves_nothing(
    held_keys: KeySession, by: Deadline
) -> None:
    """Ed25519 where the way to the token carries it; p11-kit 0.24 does not."""
    try:
        key, _ = held_keys.generate("device", KeyProfile.ED25519, by=by)
    except TokenRefused as refused:
        assert refused.ckr == "CKR_MECHANISM_INVALID"
        assert "Ed25519" in refused.diagnostics()
        assert held_keys.find("device", by=by) is None
    else:
        assert held_keys.evidence(key, by=by).faults() == ()


@pytest.mark.fault(
    "Token",
    "the token refuses a key's template, as NXP's library does",
    comes="works: the next template is taken, and the record names it",
    then="nothing",
)
def test_template_that_the_token_refuses_gives_way_to_the_next(
    held_keys: KeySession, by: Deadline
) -> None:
    """No token takes CKA_LOCAL; NXP's takes neither CKA_SENSITIVE nor CKA_EXTRACTABLE."""
    refused = KeyTemplate("refused", {"LOCAL": True})

    key, _ = held_keys.token.ensure(b"id", "k", templates=(refused, TOKENS_OWN), by=by)

    assert key.template == "tokens-own"


@pytest.mark.fault(
    "Token",
    "the token refuses every template",
    comes="TokenRefused, status 6; no key",
    then="take a key profile that the token can make",
)
def test_key_is_not_made_when_every_template_is_refused(
    held_keys: KeySession, by: Deadline
) -> None:
    """SoftHSM2 then leaves a private object without label and id behind: nobody's key."""
    refused = KeyTemplate("refused", {"LOCAL": True})

    with pytest.raises(TokenRefused):
        held_keys.token.ensure(b"id", "k", templates=(refused,), by=by)

    assert held_keys.token.find(b"id", by=by) is None
    assert b"id" not in [id for _, _, id in held_keys.token.objects(by=by)]


def test_asking_twice_for_a_key_makes_one(held_keys: KeySession, by: Deadline) -> None:
    first, _ = held_keys.generate("device", by=by)

    again, new = held_keys.generate("device", by=by)

    assert (again, new) == (first, False)


def test_key_of_another_profile_is_not_taken_for_ours(held_keys: KeySession, by: Deadline) -> None:
    held_keys.generate("device", by=by)

    with pytest.raises(DeviceRefused, match=r"is ec-p256, expected ec-p384"):
        held_keys.generate("device", KeyProfile.EC_P384, by=by)


def test_keys_of_one_label_are_told_apart_by_their_id(held_keys: KeySession, by: Deadline) -> None:
    """Labels may repeat; SoftHSM2 and OP-TEE both let them."""
    token = held_keys.token
    first, _ = token.ensure(b"first", "device", by=by)
    second, _ = token.ensure(b"second", "device", by=by)

    assert first.label == second.label == "device"
    assert first.public_key != second.public_key
    assert token.find(b"first", by=by) == first
    assert token.find(b"second", by=by) == second


def test_two_keys_of_one_id_are_quarantined(held_keys: KeySession, by: Deadline) -> None:
    mine, _ = held_keys.generate("device", by=by)
    foreign = ec.generate_private_key(ec.SECP256R1())
    held_keys.token.import_ec(mine.id, "device", foreign, template=STRICT, by=by)

    with pytest.raises(DeviceRefused, match="2 private and 2 public keys"):
        held_keys.generate("device", by=by)


def test_public_key_left_by_a_power_cut_is_replaced(held_keys: KeySession, by: Deadline) -> None:
    orphan, _ = held_keys.generate("device", by=by)
    held_keys.token.destroy("private", orphan.id, by=by)

    key, new = held_keys.generate("device", by=by)

    assert new
    assert key.spki != orphan.spki


def test_logging_out_takes_the_key_away(held_keys: KeySession, by: Deadline) -> None:
    key, _ = held_keys.generate("device", by=by)
    held_keys.logout(by=by)

    with pytest.raises(TokenRefused, match="CKR_USER_NOT_LOGGED_IN"):
        held_keys.sign(key, b"message", by=by)


def test_erased_key_is_gone_with_its_certificate(held_keys: KeySession, by: Deadline) -> None:
    key, _ = held_keys.generate("device", by=by)
    held_keys.store_certificate(key, b"0\x03\x02\x01\x07", subject=b"0\x00", by=by)

    held_keys.erase(key, by=by)

    assert held_keys.find("device", by=by) is None
    assert held_keys.certificates(key, by=by) == ()


def test_second_certificate_takes_the_place_of_the_first(
    held_keys: KeySession, by: Deadline
) -> None:
    key, _ = held_keys.generate("device", by=by)
    held_keys.store_certificate(key, b"0\x03\x02\x01\x07", subject=b"0\x00", by=by)

    held_keys.store_certificate(key, b"0\x03\x02\x01\x08", subject=b"0\x00", by=by)

    assert held_keys.certificates(key, by=by) == (b"0\x03\x02\x01\x08",)


def test_data_object_is_replaced_and_erased(held_keys: KeySession, by: Deadline) -> None:
    held_keys.token.store_data("batch", b"first", by=by)
    held_keys.token.store_data("batch", b"second", by=by)

    assert held_keys.token.data("batch", by=by) == b"second"
    assert held_keys.token.data_listed(by=by) == (("batch", 6),)
    assert held_keys.token.destroy_data("batch", by=by) == 1
    assert held_keys.token.data("batch", by=by) is None


def test_data_object_that_is_too_large_is_refused_before_it_is_sent(
    held_keys: KeySession, by: Deadline
) -> None:
    with pytest.raises(Misuse, match="4096 octets"):
        held_keys.token.store_data("batch", bytes(LARGEST_DATA + 1), by=by)


def test_id_of_a_key_is_the_boxs_and_the_purposes() -> None:
    ids = {
        key_id(serial, purpose, generation)
        for serial in ("TB-1", "TB-2")
        for purpose in ("device", "other")
        for generation in (1, 2)
    }

    assert len(ids) == 8
    assert {len(one) for one in ids} == {20}
