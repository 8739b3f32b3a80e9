"""The factory's CA, on a real SoftHSM token."""

from __future__ import annotations

import datetime
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness.deadline import Deadline
from harness.errors import DeviceRefused, IntegrityFailure, Misuse
from provisioning.authority import Authority, open_authority
from provisioning.certificates import check_issued, fits, pem
from provisioning.csr import device_subject, make_request, registration_id
from provisioning.softhsm import softhsm_token
from provisioning.token import Token
from provisioning.token_key import TokenKey

SERIAL = "TB-TEST-0001"


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture
def token(tmp_path: Path, by: Deadline) -> Iterator[Token]:
    made = softhsm_token(tmp_path / "token", "factory", by=by)
    yield made
    made.close()


@pytest.fixture
def authority(token: Token, tmp_path: Path, by: Deadline) -> Authority:
    return open_authority(token, tmp_path / "ca", by=by)


def request_of(
    key: ec.EllipticCurvePrivateKey, subject: x509.Name, *extensions: x509.ExtensionType
) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def test_request_signed_in_a_token_is_certified(
    authority: Authority, token: Token, by: Deadline
) -> None:
    pair, _ = token.ensure(b"a box's key", "device", by=by)
    request = make_request(TokenKey(token, pair, by=by), SERIAL)

    issued = authority.certify(request, SERIAL, days=30, by=by)

    check_issued(
        issued,
        key=pair.public_key,
        serial=SERIAL,
        issuing=authority.issuing,
        root=authority.root,
    )


def test_chain_passes_openssl_verify(authority: Authority, tmp_path: Path, by: Deadline) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issued = authority.certify(request_of(key, device_subject(SERIAL)), SERIAL, days=30, by=by)
    (tmp_path / "device.pem").write_bytes(pem(issued))
    (tmp_path / "issuing.pem").write_bytes(pem(authority.issuing))
    (tmp_path / "root.pem").write_bytes(pem(authority.root))

    done = subprocess.run(
        [
            *("openssl", "verify", "-x509_strict", "-purpose", "sslclient"),
            *("-CAfile", "root.pem", "-untrusted", "issuing.pem", "device.pem"),
        ],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_another_root_does_not_vouch_for_the_certificate(
    authority: Authority, token: Token, by: Deadline
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issued = authority.certify(request_of(key, device_subject(SERIAL)), SERIAL, days=30, by=by)
    stranger = _self_signed(authority.root.subject)

    with pytest.raises(IntegrityFailure, match="path does not verify"):
        check_issued(
            issued,
            key=key.public_key(),
            serial=SERIAL,
            issuing=authority.issuing,
            root=stranger,
        )


def test_certificate_for_another_box_is_not_this_ones(authority: Authority, by: Deadline) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issued = authority.certify(request_of(key, device_subject(SERIAL)), SERIAL, days=30, by=by)

    with pytest.raises(IntegrityFailure, match="subject"):
        check_issued(
            issued,
            key=key.public_key(),
            serial="TB-TEST-0002",
            issuing=authority.issuing,
            root=authority.root,
        )


def test_asking_again_for_the_same_key_gives_the_same_certificate(
    authority: Authority, by: Deadline
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    first = authority.certify(request_of(key, device_subject(SERIAL)), SERIAL, days=30, by=by)

    again = authority.certify(request_of(key, device_subject(SERIAL)), SERIAL, days=30, by=by)

    assert again == first


@pytest.mark.parametrize(("hours", "serves"), [(0, True), (21, True), (22, False), (25, False)])
def test_certificate_about_to_end_serves_no_more(
    authority: Authority, by: Deadline, hours: int, serves: bool
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    issued = authority.certify(request_of(key, device_subject(SERIAL)), SERIAL, days=1, by=by)
    at = issued.not_valid_after_utc - datetime.timedelta(days=1) + datetime.timedelta(hours=hours)

    found = fits(issued, key=key.public_key(), serial=SERIAL, issuing=authority.issuing, at=at)

    assert found is serves


def test_opening_the_authority_again_finds_the_same_ca(
    authority: Authority, token: Token, by: Deadline
) -> None:
    again = open_authority(token, authority.state, by=by)

    assert (again.root, again.issuing) == (authority.root, authority.issuing)


def test_request_with_a_broken_signature_is_refused(authority: Authority, by: Deadline) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    broken = bytearray(request_of(key, device_subject(SERIAL)))
    broken[-1] ^= 1

    with pytest.raises(DeviceRefused, match="not signed by the key"):
        authority.certify(bytes(broken), SERIAL, days=30, by=by)


@pytest.mark.parametrize(
    ("curve", "subject", "extensions", "complaint"),
    [
        pytest.param(ec.SECP521R1(), device_subject(SERIAL), (), "none of", id="other-curve"),
        pytest.param(ec.SECP256R1(), device_subject("TB-X"), (), "instead", id="other-box"),
        pytest.param(
            ec.SECP256R1(),
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, registration_id(SERIAL))]),
            (),
            "instead",
            id="no-serial",
        ),
        pytest.param(
            ec.SECP256R1(),
            device_subject(SERIAL),
            (x509.BasicConstraints(ca=True, path_length=None),),
            "extensions",
            id="asks-to-be-a-ca",
        ),
    ],
)
def test_request_that_is_not_this_boxs_is_refused(
    authority: Authority,
    by: Deadline,
    curve: ec.EllipticCurve,
    subject: x509.Name,
    extensions: tuple[x509.ExtensionType, ...],
    complaint: str,
) -> None:
    request = request_of(ec.generate_private_key(curve), subject, *extensions)

    with pytest.raises(DeviceRefused, match=complaint):
        authority.certify(request, SERIAL, days=30, by=by)


@pytest.mark.parametrize("noise", [b"", b"0\x00", b"\xff" * 300], ids=["empty", "short", "long"])
def test_request_that_is_no_request_is_refused(
    authority: Authority, by: Deadline, noise: bytes
) -> None:
    with pytest.raises(DeviceRefused, match="cannot be read"):
        authority.certify(noise, SERIAL, days=30, by=by)


@pytest.mark.parametrize("serial", ["", "TB 1", "TB/1", "\u0422B-1", "x" * 65])
def test_serial_that_no_service_would_accept_is_misuse(serial: str) -> None:
    with pytest.raises(Misuse):
        registration_id(serial)


def test_key_in_a_token_has_no_bytes_to_show(token: Token, by: Deadline) -> None:
    pair, _ = token.ensure(b"a box's key", "device", by=by)

    with pytest.raises(Misuse):
        TokenKey(token, pair, by=by).private_numbers()


def _self_signed(name: x509.Name) -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .sign(key, hashes.SHA256())
    )
