"""What only the token in the TEE shows: it outlives power, names its TA, and locks PINs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import IntegrityFailure, LinkError, Misuse, RigError, TokenRefused
from harness.secret import Secret
from provisioning.device_id import PKCS11_TA
from provisioning.key_import import WRAPPING_ID, WRAPPING_LABEL
from provisioning.key_report import key_report
from provisioning.key_verdict import KeyVerdict
from provisioning.pkcs11_ta import Attributes, Cka, Pkcs11Ta, Who
from provisioning.token_state import TokenFlags
from provisioning.trustbox import TrustBox
from tests.device.key_parts import LABEL, USER, WRONG

pytestmark = pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE, Capability.RESTORE)


def test_last_try_is_left_to_a_person(open_box: TrustBox, by: Deadline) -> None:
    """Six wrong PINs of seven; then even the right one is not tried."""
    for _ in range(6):
        with pytest.raises(TokenRefused):
            open_box.keys.login(LABEL, WRONG, by=by)

    with pytest.raises(TokenRefused, match="CKR_PIN_LOCKED") as refusal:
        open_box.keys.login(LABEL, USER, by=by)

    state = open_box.keys.state(LABEL, by=by)
    assert "Not tried" in refusal.value.diagnostics()
    assert state is not None
    assert TokenFlags.USER_PIN_LOCKED not in state.flags


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


@pytest.mark.needs(Capability.ATTESTATION)
def test_evidence_from_the_tee_names_its_ta_and_tee(open_box: TrustBox, by: Deadline) -> None:
    key, _ = open_box.keys.generate("device", by=by)

    evidence = open_box.keys.evidence(key, code=open_box.keys.code(attest=True, by=by), by=by)

    assert evidence.code.ta == PKCS11_TA
    assert evidence.code.ta_digest is not None
    assert len(evidence.code.ta_digest) == 64
    assert evidence.tee_uuid == open_box.keys.tokens(by=by)[0].tee_uuid
    assert evidence.tee_uuid is not None


@pytest.mark.slow
@pytest.mark.needs(Capability.AGENT)
def test_secret_imported_under_rsa_aes_key_wrap_works_and_is_called_imported(
    open_box: TrustBox,
) -> None:
    """Slow: the token makes an RSA key to wrap for. The secret is the one that was wrapped."""
    by = Deadline.after(110)
    value = Secret(bytes(range(32)))

    key = open_box.keys.import_secret("storage", value, pin=USER, by=by)

    evidence = open_box.keys.evidence(key, by=by)
    block = b"sixteen octets.."
    here = Cipher(algorithms.AES256(value.reveal()), modes.CBC(bytes(16))).encryptor()
    assert evidence.verdict is KeyVerdict.IMPORTED
    assert {reason.makes for reason in evidence.reasons} == {KeyVerdict.IMPORTED}
    assert open_box.keys.token.encrypt(key.id, block, by=by) == here.update(block)
    report = key_report(open_box.keys, by=by)
    assert [one.key.label for one in report.keys] == ["storage"]  # and not what it was wrapped for
    assert report.bad([KeyVerdict.IMPORTED]) == ()
    with pytest.raises(Misuse, match="already"):
        open_box.keys.import_secret("storage", value, pin=USER, by=by)

    with the_ta(open_box, by) as (ta, session):
        [public] = ta.find(session, {Cka.CLASS: 2, Cka.ID: WRAPPING_ID})
        ta.destroy(session, public)
        ta.create(session, public_half(rsa.generate_private_key(65537, 2048)))
    with pytest.raises(IntegrityFailure, match="two halves that are not of one pair"):
        open_box.keys.import_secret("other", value, pin=USER, by=by)
    assert open_box.keys.find_secret("other", by=by) is None


@pytest.mark.needs(Capability.AGENT)
def test_nothing_is_wrapped_for_an_import_key_that_came_from_outside(
    open_box: TrustBox, by: Deadline
) -> None:
    foreign = rsa.generate_private_key(65537, 2048)
    with the_ta(open_box, by) as (ta, session):
        for half in (public_half(foreign), private_half(foreign)):
            ta.create(session, half)

    with pytest.raises(IntegrityFailure, match=r"the token's import key is imported: .* LOCAL"):
        open_box.keys.import_secret("storage", Secret(bytes(32)), pin=USER, by=by)

    kinds = sorted(kind for kind, _, _ in open_box.keys.token.objects(by=by))
    assert kinds == ["private", "public"]


@contextmanager
def the_ta(box: TrustBox, by: Deadline) -> Iterator[tuple[Pkcs11Ta, int]]:
    """The PKCS#11 TA itself, and a session logged in to the box's token."""
    state = box.keys.state(LABEL, by=by)
    assert state is not None
    with Pkcs11Ta.open(box.target, by=by) as ta:
        session = ta.open_session(state.slot)
        ta.login(session, Who.USER, USER)
        yield ta, session


def public_half(key: rsa.RSAPrivateKey) -> Attributes:
    """As a key to wrap imports for, by somebody who has the pair."""
    numbers = key.public_key().public_numbers()
    return {
        Cka.CLASS: 2,
        Cka.KEY_TYPE: 0,
        Cka.TOKEN: True,
        Cka.ID: WRAPPING_ID,
        Cka.LABEL: WRAPPING_LABEL.encode(),
        Cka.WRAP: True,
        Cka.MODULUS: numbers.n.to_bytes(256, "big"),
        Cka.PUBLIC_EXPONENT: numbers.e.to_bytes(3, "big"),
    }


def private_half(key: rsa.RSAPrivateKey) -> Attributes:
    return {
        **public_half(key),
        Cka.CLASS: 3,
        Cka.WRAP: False,
        Cka.UNWRAP: True,
        Cka.PRIVATE: True,
        Cka.SENSITIVE: True,
        Cka.EXTRACTABLE: False,
        Cka.MODIFIABLE: False,
        Cka.PRIVATE_EXPONENT: key.private_numbers().d.to_bytes(256, "big"),
    }


def test_secret_of_a_wrong_length_is_not_imported(open_box: TrustBox, by: Deadline) -> None:
    with pytest.raises(Misuse, match="32 octets"):
        open_box.keys.import_secret("storage", Secret(b"too short"), pin=USER, by=by)
