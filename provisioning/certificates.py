"""Certificates of boxes, judged. Pure: asks nobody, reads no file."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness.errors import IntegrityFailure
from provisioning.csr import device_subject


def pem(*certificates: x509.Certificate) -> bytes:
    """One after the other, leaf first: the order in which they are given."""
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def fits(
    found: x509.Certificate,
    *,
    key: ec.EllipticCurvePublicKey,
    serial: str,
    issuing: x509.Certificate,
    at: datetime.datetime | None = None,
) -> bool:
    """Whether a certificate still serves ``at`` a time (default: now).

    This key, this box, this issuer, and not about to end: a tenth of its life, a day at most.
    """
    when = at or datetime.datetime.now(datetime.UTC)
    life = found.not_valid_after_utc - found.not_valid_before_utc
    margin = min(life / 10, datetime.timedelta(days=1))
    return (
        found.public_key() == key
        and found.subject == device_subject(serial)
        and found.issuer == issuing.subject
        and found.not_valid_before_utc <= when < found.not_valid_after_utc - margin
    )


def check_issued(
    found: x509.Certificate,
    *,
    key: ec.EllipticCurvePublicKey,
    serial: str,
    issuing: x509.Certificate,
    root: x509.Certificate,
) -> None:
    """Raises IntegrityFailure, naming what is wrong, unless this is the box's certificate.

    Path, signatures, validity and CA constraints are cryptography's to judge (RFC 5280, client
    profile); key, name, serial and usages are compared here.
    """
    wrong = _wrongs(found, key, serial)
    if not wrong:
        try:
            _verifier(root).verify(found, [issuing])
        except verification.VerificationError as problem:
            wrong = [f"its path does not verify ({problem})"]
    if wrong:
        raise IntegrityFailure(f"the certificate issued for {serial} is wrong: {wrong[0]}")


def _verifier(root: x509.Certificate) -> verification.ClientVerifier:
    policy = verification.ExtensionPolicy
    return (
        verification.PolicyBuilder()
        .store(verification.Store([root]))
        # Web clients must have a subjectAltName and no other key usage rule; an IDevID need not.
        .extension_policies(ca_policy=policy.webpki_defaults_ca(), ee_policy=policy.permit_all())
        .build_client_verifier()
    )


def _wrongs(found: x509.Certificate, key: ec.EllipticCurvePublicKey, serial: str) -> list[str]:
    wrong = []
    if found.public_key() != key:
        wrong.append("it is for another key")
    names = [a.value for a in found.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)]
    if names != [serial] or found.subject != device_subject(serial):
        wrong.append(f"its subject is {found.subject.rfc4514_string()[:200]!r}")
    if found.serial_number.bit_length() > 159 or found.serial_number < 1:
        wrong.append("its serial number has another form")
    try:
        basic = found.extensions.get_extension_for_class(x509.BasicConstraints)
        usage = found.extensions.get_extension_for_class(x509.KeyUsage)
        purpose = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        found.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError) as problem:
        return [*wrong, f"its extensions are not ours ({problem})"]
    if basic.value.ca or not basic.critical:
        wrong.append("it is not marked as an end entity's")
    if not usage.critical or not usage.value.digital_signature or usage.value.key_cert_sign:
        wrong.append("its key usage is not digitalSignature alone")
    if ExtendedKeyUsageOID.CLIENT_AUTH not in purpose:
        wrong.append("it is not for client authentication")
    return wrong
