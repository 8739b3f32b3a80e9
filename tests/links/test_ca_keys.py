"""Keys in tokens, of every kind, sign through cryptography; also at the far end of p11-kit."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils

from harness.deadline import Deadline
from harness.errors import DeviceRefused, LinkLost, Misuse, TokenRefused
from harness.secret import Secret
from provisioning.csr import checked_request, make_request
from provisioning.softhsm import softhsm_token
from provisioning.token import Token, verifies
from provisioning.token_key import RsaTokenKey, TokenKey, answers, signing_key
from provisioning.token_public import KeyProfile
from tests.links.remote_token import Remote

pytestmark = pytest.mark.slow

KINDS = (
    KeyProfile.EC_P256,
    KeyProfile.EC_P384,
    KeyProfile.RSA_2048,
    KeyProfile.RSA_3072,
    KeyProfile.ED25519,
)
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.value)
SO, USER = Secret(b"so-pin-71250"), Secret(b"user-pin-38461")


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    made = softhsm_token(tmp_path_factory.mktemp("hsm"), "keys", by=Deadline.after(60))
    yield made
    made.close()


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    """As a box's token: the module is at the other end of p11-kit."""
    remote = Remote(tmp_path_factory.mktemp("remote"))
    remote.token.initialise("box", so_pin=SO, user_pin=USER, by=Deadline.after(60))
    remote.token.login("box", USER, by=Deadline.after(60))
    yield remote.token
    remote.close()


def p11_kit_version() -> tuple[int, ...]:
    """Of the Debian package: the program does not tell its own."""
    argv = ["dpkg-query", "-W", "-f", "${Version}", "p11-kit"]
    try:
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the version of p11-kit is not known here, and Ed25519 depends on it")
    return tuple(int(part) for part in said.split("-")[0].split(".")[:2])


@each_kind
@pytest.mark.parametrize("where", ["here", "far"])
def test_request_of_a_key_in_a_token_proves_possession(
    request: pytest.FixtureRequest, where: str, kind: KeyProfile, by: Deadline
) -> None:
    if (where, kind) == ("far", KeyProfile.ED25519) and p11_kit_version() < (0, 25):
        reason = "p11-kit 0.24 carries no Edwards mechanism: CKR_MECHANISM_INVALID"
        request.applymarker(pytest.mark.xfail(raises=TokenRefused, strict=True, reason=reason))
    token: Token = request.getfixturevalue(where)
    pair, _ = token.ensure(kind.value.encode(), "device", kind, by=by)

    asked = make_request(signing_key(token, pair, by=by), "TB-1")

    assert pair.profile is kind
    assert checked_request(asked, "TB-1", allowed=KINDS) == pair.public_key


@each_kind
def test_openssl_accepts_the_request(
    here: Token, kind: KeyProfile, tmp_path: Path, by: Deadline
) -> None:
    pair, _ = here.ensure(kind.value.encode(), "device", kind, by=by)
    (tmp_path / "csr.der").write_bytes(make_request(signing_key(here, pair, by=by), "TB-1"))

    done = subprocess.run(
        ["openssl", "req", "-inform", "DER", "-in", "csr.der", "-verify", "-noout"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0
    assert b"verify OK" in done.stdout + done.stderr


@each_kind
def test_key_answers_a_challenge_and_another_does_not(
    here: Token, kind: KeyProfile, by: Deadline
) -> None:
    pair, _ = here.ensure(kind.value.encode(), "device", kind, by=by)
    other, _ = here.ensure(b"other " + kind.value.encode(), "other", kind, by=by)

    assert answers(here, pair, b"challenge", by=by)
    assert not verifies(other.public_key, b"", hashlib.sha256(b"challenge").digest())
    mixed = type(pair)(pair.id, pair.label, other.public_key)
    assert not answers(here, mixed, b"challenge", by=by)


def test_key_of_another_kind_than_wanted_is_refused(here: Token, by: Deadline) -> None:
    here.ensure(b"is P-256", "device", KeyProfile.EC_P256, by=by)

    with pytest.raises(DeviceRefused, match="ec-p256, expected rsa-2048"):
        here.ensure(b"is P-256", "device", KeyProfile.RSA_2048, by=by)


def test_padding_and_hashes_that_are_not_ours_are_misuse(here: Token, by: Deadline) -> None:
    rsa_pair, _ = here.ensure(b"rsa-2048", "device", KeyProfile.RSA_2048, by=by)
    ec_pair, _ = here.ensure(b"ec-p256", "device", KeyProfile.EC_P256, by=by)
    rsa_key, ec_key = RsaTokenKey(here, rsa_pair, by=by), TokenKey(here, ec_pair, by=by)

    with pytest.raises(Misuse):
        rsa_key.sign(b"", padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
    with pytest.raises(Misuse):
        rsa_key.sign(b"", padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
    with pytest.raises(Misuse):
        ec_key.sign(bytes(32), ec.ECDSA(utils.Prehashed(hashes.SHA256())))


def test_private_half_of_another_kind_is_misuse(here: Token, by: Deadline) -> None:
    pair, _ = here.ensure(b"rsa-2048", "device", KeyProfile.RSA_2048, by=by)

    with pytest.raises(Misuse, match="rsa-2048"):
        TokenKey(here, pair, by=by)
    with pytest.raises(Misuse, match="no bytes to show"):
        RsaTokenKey(here, pair, by=by).private_bytes()


def test_mechanism_that_is_not_known_is_not_passed_on(here: Token, by: Deadline) -> None:
    here.ensure(b"ec-p256", "device", KeyProfile.EC_P256, by=by)

    with pytest.raises(LinkLost, match="no such mechanism"):
        here.sign_raw(b"ec-p256", bytes(32), "md5-rsa", by=by)


def test_certificate_signed_with_rsa_in_a_token_verifies(here: Token, by: Deadline) -> None:
    pair, _ = here.ensure(b"rsa-3072", "ca", KeyProfile.RSA_3072, by=by)
    asked = x509.load_der_x509_csr(make_request(signing_key(here, pair, by=by), "TB-1"))

    assert isinstance(asked.signature_hash_algorithm, hashes.SHA256)
    assert asked.is_signature_valid
