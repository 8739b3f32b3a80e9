"""Certificates of boxes, judged. Pure: asks nobody, reads no file."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness.errors import IntegrityFailure
from provisioning.csr import UNREADABLE, registration_id
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
    hardware_type: str | None = None,
    at: datetime.datetime | None = None,
) -> bool:
    """Whether a certificate still serves ``at`` a time (default: now).

    This key, this box, this issuer, of the profile (idevid) and ``hardware_type`` (None: any), and
    not about to end: a tenth of its life, a day at most.
    """
    try:
        return (
            found.public_key() == key
            and found.issuer == issuing.subject
            and not profile_faults(found, serial, hardware_type=hardware_type)
            and lasts(found, at=at)
        )
    except UNREADABLE:
        return False


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
    check_path(found, key=key, serial=serial, above=(issuing,), root=root)


def check_path(
    found: x509.Certificate,
    *,
    key: PublicKey,
    serial: str,
    above: Sequence[x509.Certificate],
    root: x509.Certificate,
    idevid: bool = True,
) -> tuple[x509.Certificate, ...]:
    """The path from the box's certificate up to, without, the root. Raises as ``check_issued``.

    ``above`` are issuers to choose from, in any order. Without ``idevid`` it need only be a
    client's: CN the registration id, no CA's, and for client authentication if it says for what.
    """
    path: tuple[x509.Certificate, ...] = ()
    try:
        wrong = ["it is for another key"] if found.public_key() != key else []
        wrong += profile_faults(found, serial) if idevid else _client_faults(found, serial)
        if not wrong:
            path = tuple(_verifier(root).verify(found, list(above)).chain)
    except verification.VerificationError as problem:
        told = (str(problem), *(fault for one in (*above, root) if (fault := ca_fault(one))))
        wrong = [f"its path does not verify ({'; '.join(told)})"]
    except UNREADABLE as problem:
        wrong = [f"it cannot be read ({problem})"]
    if wrong:
        raise IntegrityFailure(f"the certificate issued for {serial} is wrong: {wrong[0]}")
    return path[:-1] if path[-1] == root else path


def ca_fault(found: x509.Certificate) -> str:
    """Why no path leads to or through this CA's certificate, naming it; "" when nothing is wrong.

    RFC 5280 4.2.1.3 and 4.2.1.9 ask for these; OpenSSL takes certificates without them.
    """
    name = f"the CA certificate {found.subject.rfc4514_string()[:200]}"
    try:
        constraints = found.extensions.get_extension_for_class(x509.BasicConstraints)
        usage = found.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound as lacking:
        what = "keyUsage" if lacking.oid == x509.KeyUsage.oid else "basicConstraints"
        return f"{name} has no {what}"
    except UNREADABLE as problem:
        return f"{name} cannot be read ({problem})"
    if not constraints.value.ca:
        return f"{name} is no CA's"
    if not constraints.critical:
        return f"{name} has basicConstraints that is not critical"
    return "" if usage.key_cert_sign else f"{name} has a keyUsage without keyCertSign"


def _client_faults(found: x509.Certificate, serial: str) -> list[str]:
    names = [str(n.value) for n in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    asked = registration_id(serial)
    wrong = [] if names == [asked] else [f"its common name is {names!r:.200}, not {asked!r}"]
    if wrong and [one.lower() for one in names] == [asked]:
        wrong = [f"{wrong[0]}: the CA changed its capitals, and DPS compares them"]
    for extension in found.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints) and value.ca:
            wrong.append("it is a CA's")
        if isinstance(value, x509.ExtendedKeyUsage) and not (
            {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
            & set(value)
        ):
            wrong.append("it is not for client authentication")
    return wrong


def lasts(found: x509.Certificate, *, at: datetime.datetime | None = None) -> bool:
    """Whether it has begun and is not about to end: a tenth of its life, a day at most."""
    when = at or datetime.datetime.now(datetime.UTC)
    life = found.not_valid_after_utc - found.not_valid_before_utc
    margin = min(life / 10, datetime.timedelta(days=1))
    return found.not_valid_before_utc <= when < found.not_valid_after_utc - margin


def _verifier(root: x509.Certificate) -> verification.ClientVerifier:
    policy = verification.ExtensionPolicy
    return (
        verification.PolicyBuilder()
        .store(verification.Store([root]))
        # Web clients must have a DNS name and no other key usage rule; an IDevID has its own.
        .extension_policies(ca_policy=policy.webpki_defaults_ca(), ee_policy=policy.permit_all())
        .build_client_verifier()
    )
