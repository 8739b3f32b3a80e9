"""Which requests deserve a certificate: one rule a test, and what breaks it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from asn1crypto import csr
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import AttributeOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DeviceRefused, Misuse
from provisioning.csr import checked_request, device_subject, registration_id
from provisioning.token_public import KeyProfile
from tests.unit.authority_parts import SERIAL, AnyKey, a_key, request_of

GOOD = request_of(a_key())
UNSTRUCTURED_NAME = x509.ObjectIdentifier("1.2.840.113549.1.9.2")


@pytest.fixture(scope="module")
def rsa_keys() -> dict[int, rsa.RSAPrivateKey]:
    return {bits: rsa.generate_private_key(65537, bits) for bits in (1024, 2048, 3072)}


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()], ids=["P-256", "P-384"])
def test_key_on_an_allowed_curve_is_given_out(curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)

    assert checked_request(request_of(key), SERIAL) == key.public_key()


@pytest.mark.parametrize("bits", [2048, 3072])
def test_rsa_key_of_an_allowed_size_is_given_out(
    rsa_keys: dict[int, rsa.RSAPrivateKey], bits: int
) -> None:
    assert checked_request(request_of(rsa_keys[bits]), SERIAL) == rsa_keys[bits].public_key()


def test_ed25519_is_for_those_who_allow_it() -> None:
    request = request_of(ed25519.Ed25519PrivateKey.generate())

    assert checked_request(request, SERIAL, allowed={KeyProfile.ED25519})
    with pytest.raises(DeviceRefused, match="none of"):
        checked_request(request, SERIAL)


def test_weak_rsa_key_is_refused(rsa_keys: dict[int, rsa.RSAPrivateKey]) -> None:
    with pytest.raises(DeviceRefused, match="none of"):
        checked_request(request_of(rsa_keys[1024]), SERIAL)


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(ec.generate_private_key(ec.SECP521R1()), id="P-521"),
        pytest.param(ec.generate_private_key(ec.SECP256K1()), id="secp256k1"),
        pytest.param(rsa.generate_private_key(3, 2048), id="RSA with exponent 3"),
    ],
)
def test_key_of_another_kind_is_refused(key: AnyKey) -> None:
    with pytest.raises(DeviceRefused, match="none of"):
        checked_request(request_of(key), SERIAL)


@pytest.mark.case("N-47")
def test_request_that_another_key_signed_is_refused() -> None:
    mine = csr.CertificationRequest.load(request_of(a_key()))
    mine["signature"] = csr.CertificationRequest.load(request_of(a_key()))["signature"]

    with pytest.raises(DeviceRefused, match="not signed by the key"):
        checked_request(mine.dump(), SERIAL)


def test_request_signed_with_sha1_is_refused(tmp_path: Path) -> None:
    subject = f"/CN={registration_id(SERIAL)}/serialNumber={SERIAL}"
    made = subprocess.run(
        [
            *("openssl", "req", "-new", "-sha1", "-newkey", "ec", "-pkeyopt"),
            *("ec_paramgen_curve:P-256", "-nodes", "-keyout", tmp_path / "key.pem"),
            *("-subj", subject, "-outform", "DER"),
        ],
        capture_output=True,
        check=True,
    ).stdout

    with pytest.raises(DeviceRefused, match="signed with sha1, too weak"):
        checked_request(made, SERIAL)


@pytest.mark.parametrize(
    "subject",
    [
        pytest.param(device_subject("TB-X"), id="another box"),
        pytest.param(device_subject(SERIAL.lower()), id="the serial in lower case"),
        pytest.param(x509.Name([]), id="nobody"),
        pytest.param(x509.Name(list(device_subject(SERIAL))[:1]), id="no serial"),
        pytest.param(x509.Name(list(device_subject(SERIAL))[::-1]), id="the other way round"),
        pytest.param(
            x509.Name(
                [*device_subject(SERIAL), x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Evil")]
            ),
            id="with more in it",
        ),
    ],
)
def test_request_that_is_not_named_as_the_box_is_refused(subject: x509.Name) -> None:
    with pytest.raises(DeviceRefused, match="instead"):
        checked_request(request_of(a_key(), subject), SERIAL)


@pytest.mark.parametrize(
    "extension",
    [
        pytest.param(x509.BasicConstraints(ca=True, path_length=None), id="to be a CA"),
        pytest.param(x509.SubjectAlternativeName([x509.DNSName("hub.example")]), id="a name"),
        pytest.param(x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]), id="to be a server"),
    ],
)
def test_request_for_an_extension_is_refused(extension: x509.ExtensionType) -> None:
    with pytest.raises(DeviceRefused, match="asks for extensions"):
        checked_request(request_of(a_key(), None, extension), SERIAL)


def test_challenge_password_is_allowed() -> None:
    key = a_key()
    asked = request_of(key, attributes=[(AttributeOID.CHALLENGE_PASSWORD, b"tls-unique")])

    assert checked_request(asked, SERIAL) == key.public_key()


def test_unknown_attribute_is_refused() -> None:
    with pytest.raises(DeviceRefused, match=r"attribute 1\.2\.840\.113549\.1\.9\.2"):
        checked_request(request_of(a_key(), attributes=[(UNSTRUCTURED_NAME, b"x")]), SERIAL)


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param(b"", id="empty"),
        pytest.param(request_of(a_key())[:-1], id="cut short"),
        pytest.param(request_of(a_key()) + b"\x00", id="with something behind it"),
        pytest.param(b"-----BEGIN CERTIFICATE REQUEST-----", id="PEM"),
    ],
)
def test_request_that_is_no_request_is_refused(noise: bytes) -> None:
    with pytest.raises(DeviceRefused, match="cannot be read"):
        checked_request(noise, SERIAL)


def test_huge_request_is_not_even_read() -> None:
    with pytest.raises(DeviceRefused, match="20000 octets"):
        checked_request(bytes(20000), SERIAL)


@pytest.mark.parametrize(
    "serial", ["", "TB 1", "TB/1", "\u0422B-1", "x" * 65, "-TB1", "TB1-", "TB-1 "]
)
def test_serial_that_no_service_would_accept_is_misuse(serial: str) -> None:
    with pytest.raises(Misuse):
        registration_id(serial)


@given(st.data())
def test_damaged_request_is_refused_and_nothing_else(data: st.DataObject) -> None:
    """Whatever octet is changed, and however: no certificate, and no other error."""
    damaged = bytearray(GOOD)
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= data.draw(st.integers(1, 255))

    with pytest.raises(DeviceRefused):
        checked_request(bytes(damaged), SERIAL)
