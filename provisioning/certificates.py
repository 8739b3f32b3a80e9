"""Certificates of boxes, judged. Pure: asks nobody, reads no file."""

from __future__ import annotations

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import verification

from harness.errors import IntegrityFailure
from provisioning.csr import UNREADABLE
from provisioning.idevid import profile_faults
from provisioning.token_public import PublicKey


def pem(*certificates: x509.Certificate) -> bytes:
    """One after the other, leaf first: the order in which they are given."""
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in certificates)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def fits(
    found: x509.Certificate,
    *,
    key: PublicKey,
    serial: str,
    issuing: x509.Certificate,
    at: datetime.datetime | None = None,
) -> bool:
    """Whether a certificate still serves ``at`` a time (default: now).

    This key, this box, this issuer, of the profile (idevid), and not about to end: a tenth of its
    life, a day at most.
    """
    try:
        return _fits(found, key, serial, issuing, at)
    except UNREADABLE:
        return False


def _fits(
    found: x509.Certificate,
    key: PublicKey,
    serial: str,
    issuing: x509.Certificate,
    at: datetime.datetime | None,
) -> bool:
    when = at or datetime.datetime.now(datetime.UTC)
    life = found.not_valid_after_utc - found.not_valid_before_utc
    margin = min(life / 10, datetime.timedelta(days=1))
    return (
        found.public_key() == key
        and found.issuer == issuing.subject
        and not profile_faults(found, serial)
        and found.not_valid_before_utc <= when < found.not_valid_after_utc - margin
    )


def check_issued(
    found: x509.Certificate,
    *,
    key: PublicKey,
    serial: str,
    issuing: x509.Certificate,
    root: x509.Certificate,
) -> None:
    """Raises IntegrityFailure, naming what is wrong, unless this is the box's certificate.

    Path, signatures, validity and CA constraints are cryptography's to judge (RFC 5280, client
    profile); the key is compared here, names, serial and usages by ``idevid.profile_faults``.
    """
    try:
        wrong = ["it is for another key"] if found.public_key() != key else []
        wrong += profile_faults(found, serial)
        if not wrong:
            _verifier(root).verify(found, [issuing])
    except verification.VerificationError as problem:
        wrong = [f"its path does not verify ({problem})"]
    except UNREADABLE as problem:
        wrong = [f"it cannot be read ({problem})"]
    if wrong:
        raise IntegrityFailure(f"the certificate issued for {serial} is wrong: {wrong[0]}")


def _verifier(root: x509.Certificate) -> verification.ClientVerifier:
    policy = verification.ExtensionPolicy
    return (
        verification.PolicyBuilder()
        .store(verification.Store([root]))
        # Web clients must have a DNS name and no other key usage rule; an IDevID has its own.
        .extension_policies(ca_policy=policy.webpki_defaults_ca(), ee_policy=policy.permit_all())
        .build_client_verifier()
    )
