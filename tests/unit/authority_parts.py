"""A CA on real SoftHSM tokens, and requests with keys that are files, for tests."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from harness.deadline import Deadline
from provisioning.authority import Authority
from provisioning.authority_publish import crl_number
from provisioning.authority_settings import CaSettings, RoleSettings
from provisioning.csr import device_subject
from provisioning.token_public import KeyProfile

SERIAL = "TB-TEST-0001"
P256 = CaSettings(
    root=RoleSettings("softhsm:line", KeyProfile.EC_P256, 9000),
    issuing=RoleSettings("softhsm:line", KeyProfile.EC_P256, 8000),
    device_keys=(KeyProfile.EC_P256,),
    hardware_type="1.3.6.1.4.1.32473.7",
    crl_days=10,
)
"""A CA with both keys in one token, quickly made."""
AnyKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def a_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def request_of(
    key: AnyKey,
    subject: x509.Name | None = None,
    *extensions: x509.ExtensionType,
    attributes: Sequence[tuple[x509.ObjectIdentifier, bytes]] = (),
) -> bytes:
    """A request for the box SERIAL, unless ``subject`` says otherwise; DER."""
    builder = x509.CertificateSigningRequestBuilder()
    builder = builder.subject_name(device_subject(SERIAL) if subject is None else subject)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    for oid, value in attributes:
        builder = builder.add_attribute(oid, value)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


def certified(
    authority: Authority, key: ec.EllipticCurvePrivateKey, days: int | None = 30
) -> x509.Certificate:
    """A certificate for the box SERIAL."""
    return authority.certify(request_of(key), SERIAL, days=days, by=Deadline.after(60))


def number_of(authority: Authority, role: str = "issuing") -> int:
    """Of the CRL that is published."""
    crl = authority.files.crl(role)
    assert crl is not None
    return crl_number(crl)
