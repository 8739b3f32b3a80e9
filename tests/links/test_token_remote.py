"""The way to a token: worker, bridge and p11-kit, with SoftHSM at the far end on this machine.

``p11-kit remote`` is the program that runs on a box too; only the pipe to it is shorter.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, DeviceRefused, LinkLost, Misuse, TokenRefused
from harness.secret import Secret
from provisioning.key_evidence import TokenCode, examine
from provisioning.key_verdict import KeyVerdict
from provisioning.softhsm import softhsm_module
from provisioning.token import Token, verifies
from provisioning.token_state import TokenFlags
from provisioning.token_template import STRICT, KeyTemplate
from tests.links.remote_token import Remote

SO, USER = Secret(b"so-pin-71250"), Secret(b"user-pin-38461")
CODE = TokenCode("m", "")
OLD, NEW = b"0\x03\x02\x01\x07", b"0\x03\x02\x01\x08"
LASTING_CERTIFICATE = f"""
import sys, pkcs11
from pkcs11 import Attribute, CertificateType, ObjectClass
token = pkcs11.lib(sys.argv[1]).get_token(token_label="box")
with token.open(rw=True, user_pin=sys.stdin.read()) as session:
    session.create_object({{
        Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.TOKEN: True, Attribute.ID: b"k",
        Attribute.CERTIFICATE_TYPE: CertificateType.X_509, Attribute.SUBJECT: b"0\\0",
        Attribute.VALUE: {OLD!r}, Attribute.DESTROYABLE: False,
    }})
"""
"""Makes a certificate that the token does not let anybody remove."""


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture
def remote(tmp_path: Path) -> Iterator[Remote]:
    made = Remote(tmp_path)
    yield made
    made.close()


@pytest.fixture
def token(remote: Remote, by: Deadline) -> Token:
    remote.token.initialise("box", so_pin=SO, user_pin=USER, by=by)
    remote.token.login("box", USER, by=by)
    return remote.token


def test_blank_token_becomes_ours(remote: Remote, by: Deadline) -> None:
    state = remote.token.initialise("box", so_pin=SO, user_pin=USER, by=by)

    assert (state.label, state.initialised, state.has_user_pin) == ("box", True, True)


def test_initialised_token_is_never_initialised_again(token: Token, by: Deadline) -> None:
    token.ensure(b"k", "k", by=by)

    with pytest.raises(Misuse, match="initialised already"):
        token.initialise("box", so_pin=SO, user_pin=USER, by=by)

    assert token.find(b"k", by=by) is not None


def test_worker_itself_refuses_to_wipe_a_token(remote: Remote, token: Token, by: Deadline) -> None:
    slot = token.slots(by=by)[0].slot

    with pytest.raises(LinkLost, match="initialised already"):
        remote.process.call(
            "init_token", doing="wiping", by=by, slot=slot, label="x", so_pin=SO.reveal()
        )


def test_initialisation_cut_short_is_finished(remote: Remote, by: Deadline) -> None:
    slot = remote.token.slots(by=by)[0].slot
    remote.process.call(
        "init_token", doing="labelling", by=by, slot=slot, label="box", so_pin=SO.reveal()
    )

    state = remote.token.initialise("box", so_pin=SO, user_pin=USER, by=by)

    assert state.has_user_pin


def test_so_login_on_a_blank_token_is_never_tried(remote: Remote, by: Deadline) -> None:
    """OP-TEE's token panics on it."""
    slot = remote.token.slots(by=by)[0].slot

    with pytest.raises(LinkLost, match="not initialised"):
        remote.process.call(
            "init_pin", doing="x", by=by, slot=slot, so_pin=SO.reveal(), pin=USER.reveal()
        )


@pytest.mark.parametrize("pin", [b"123", b"x" * 129], ids=["short", "long"])
def test_pin_of_a_length_that_tokens_refuse_is_not_sent(
    remote: Remote, by: Deadline, pin: bytes
) -> None:
    with pytest.raises(Misuse, match="4 to 128"):
        remote.token.initialise("box", so_pin=Secret(pin), user_pin=USER, by=by)

    assert not remote.token.slots(by=by)[0].initialised


def test_wrong_pin_is_the_tokens_refusal(token: Token, by: Deadline) -> None:
    with pytest.raises(TokenRefused) as refusal:
        token.login("box", Secret(b"not-the-pin"), by=by)

    assert refusal.value.ckr == "CKR_PIN_INCORRECT"


def test_unknown_label_is_refused(token: Token, by: Deadline) -> None:
    with pytest.raises(DeviceRefused, match="no token is labelled other"):
        token.login("other", USER, by=by)


def test_keys_need_a_login(remote: Remote, by: Deadline) -> None:
    remote.token.initialise("box", so_pin=SO, user_pin=USER, by=by)

    with pytest.raises(TokenRefused) as refusal:
        remote.token.ensure(b"k", "k", by=by)

    assert refusal.value.ckr == "CKR_USER_NOT_LOGGED_IN"


def test_signature_made_in_the_token_verifies_here(token: Token, by: Deadline) -> None:
    pair, _ = token.ensure(b"k", "k", by=by)
    digest = hashlib.sha256(b"message").digest()

    signature = token.sign(pair.id, digest, by=by)

    assert verifies(pair.public_key, signature, digest)
    assert not verifies(pair.public_key, signature, hashlib.sha256(b"another").digest())


def test_asking_for_a_key_twice_gives_the_same_one(token: Token, by: Deadline) -> None:
    first, new = token.ensure(b"k", "k", by=by)

    again, new_again = token.ensure(b"k", "k", by=by)

    assert (new, new_again) == (True, False)
    assert again.spki == first.spki


def test_public_key_left_by_a_power_cut_is_replaced(token: Token, by: Deadline) -> None:
    orphan, _ = token.ensure(b"k", "k", by=by)
    token.destroy("private", b"k", by=by)

    pair, new = token.ensure(b"k", "k", by=by)

    assert new
    assert pair.spki != orphan.spki


def test_two_keys_of_one_id_are_refused(remote: Remote, token: Token, by: Deadline) -> None:
    token.ensure(b"k", "k", by=by)
    remote.process.call("generate", doing="a second one", by=by, id=b"k", label="k", template={})

    with pytest.raises(DeviceRefused, match="2 private and 2 public"):
        token.ensure(b"k", "k", by=by)


def test_signing_with_an_erased_key_is_refused(token: Token, by: Deadline) -> None:
    token.ensure(b"k", "k", by=by)
    token.destroy("private", b"k", by=by)

    with pytest.raises(TokenRefused) as refusal:
        token.sign(b"k", bytes(32), by=by)

    assert refusal.value.ckr == "CKR_NO_SUCH_KEY"


def test_evidence_of_a_good_key_has_no_fault(token: Token, by: Deadline) -> None:
    pair, _ = token.ensure(b"k", "k", by=by)

    evidence = examine(token, pair, code=CODE, state=None, by=by)

    assert evidence.faults() == ()
    assert evidence.probes[0].answer == "CKR_ATTRIBUTE_SENSITIVE"


@pytest.mark.fault(
    "Token",
    "a key that may not sign",
    comes="its evidence is unproven, and no attribute is held against it; the key as it was",
    then="have a key made that may sign, if it is to be proven",
)
def test_key_that_may_not_sign_is_unproven_and_no_fault_of_ours(token: Token, by: Deadline) -> None:
    silent = KeyTemplate("silent", {**STRICT.attributes, "SIGN": False})
    key, _ = token.ensure(b"k", "k", templates=(silent,), by=by)

    with pytest.raises(TokenRefused, match="CKR_KEY_FUNCTION_NOT_PERMITTED"):
        token.sign(b"k", bytes(32), by=by)
    evidence = examine(token, key, code=CODE, state=None, by=by)

    assert evidence.verdict is KeyVerdict.UNPROVEN
    assert evidence.faults() == ("it may not sign, so that it answered no fresh challenge",)


def test_each_evidence_has_a_challenge_of_its_own(token: Token, by: Deadline) -> None:
    pair, _ = token.ensure(b"k", "k", by=by)

    first, second = (examine(token, pair, code=CODE, state=None, by=by) for _ in range(2))

    assert first.challenge != second.challenge


def test_stored_certificate_reads_back_byte_for_byte(token: Token, by: Deadline) -> None:
    token.store_certificate(b"k", "k", subject=b"0\x00", der=b"0\x03\x02\x01\x07", by=by)

    assert token.certificates(b"k", by=by) == (b"0\x03\x02\x01\x07",)


def test_new_certificate_is_stored_before_the_old_one_is_removed(
    remote: Remote, token: Token, by: Deadline
) -> None:
    """Where the removal does not come to pass, as after a cut, the key has both."""
    subprocess.run(
        [sys.executable, "-c", LASTING_CERTIFICATE, softhsm_module()],
        input=USER.reveal(), env={**os.environ, **remote.environment}, check=True, timeout=60,
    )  # fmt: skip

    with pytest.raises(TokenRefused):
        token.store_certificate(b"k", "k", subject=b"0\x00", der=NEW, by=by)

    assert set(token.certificates(b"k", by=by)) == {OLD, NEW}


def test_end_of_the_far_program_is_a_lost_link(remote: Remote, token: Token, by: Deadline) -> None:
    for stream in remote.streams:
        stream.process.kill()

    with pytest.raises((TokenRefused, LinkLost)):
        token.sign(b"k", bytes(32), by=by)

    assert isinstance(remote.bridge.failure, LinkLost)


def test_program_that_never_answers_ends_with_the_deadline(remote: Remote) -> None:
    remote.argv = ["sleep", "600"]

    with pytest.raises(DeadlineExpired):
        remote.token.slots(by=Deadline.after(0.5))


def test_nonsense_from_the_far_end_harms_nobody(remote: Remote, by: Deadline) -> None:
    remote.argv = ["head", "-c", "4096", "/dev/urandom"]

    with pytest.raises((LinkLost, TokenRefused)):
        remote.token.slots(by=by)


def test_pins_are_in_nobodys_command_line_or_environment(
    remote: Remote, token: Token, by: Deadline
) -> None:
    seen = b""
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                seen += (process / name).read_bytes()
            except OSError:
                continue

    assert SO.reveal() not in seen
    assert USER.reveal() not in seen


def test_closing_leaves_no_process_and_no_socket(tmp_path: Path, by: Deadline) -> None:
    remote = Remote(tmp_path)
    remote.token.slots(by=by)

    remote.close()

    assert all(stream.process.poll() is not None for stream in remote.streams)


def test_flags_of_a_wrong_pin_are_shown_by_name() -> None:
    assert TokenFlags.USER_PIN_FINAL_TRY in TokenFlags(0x0002_042D & sum(TokenFlags))
