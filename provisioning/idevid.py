"""The profile of a box's certificate, its IDevID: what goes into one, and whether one is one.

::

    subject           CN = registration id, serialNumber = the serial on the label (RFC 8995 2.3.1)
    subjectAltName    otherName id-on-hardwareModuleName (RFC 4108 5): type of hardware, same serial
    keyUsage          digitalSignature, critical        extendedKeyUsage   clientAuth
    basicConstraints  CA:FALSE, critical                AKI, SKI           SHA-1 of the keys
    serial number     20 octets, 158 of their bits random (RFC 5280 4.1.2.2)
    notAfter          after a period, or 99991231235959Z: no end (RFC 5280 4.1.2.5)

No linter looks into the hardwareModuleName, so ``profile_faults`` does.
"""

from __future__ import annotations

import datetime
import secrets

from asn1crypto import core
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from provisioning.csr import UNREADABLE, device_subject
from provisioning.token_public import PublicKey

HARDWARE_MODULE_NAME = x509.ObjectIdentifier("1.3.6.1.5.5.7.8.4")
HARDWARE_TYPE = "2.25.72576077333487713713750194061145904265"
"""The type "TrustBox": an OID made of a UUID (ITU-T X.667), which needs no registration. A maker
with an arc of its own names its own type when it sets up the CA."""
NO_END = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
_BACKDATED = datetime.timedelta(minutes=10)
"""Boxes whose clock is a little behind must not find their certificate not yet valid."""
_NEEDED = frozenset(
    {
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
        ExtensionOID.SUBJECT_KEY_IDENTIFIER,
    }
)
_ALLOWED = _NEEDED | {ExtensionOID.CRL_DISTRIBUTION_POINTS}


class _HardwareModuleName(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    """HardwareModuleName ::= SEQUENCE { hwType OID, hwSerialNum OCTET STRING }, RFC 4108 5."""

    _fields = [("hw_type", core.ObjectIdentifier), ("hw_serial_num", core.OctetString)]  # noqa: RUF012


def hardware_module_name(serial: str, hardware_type: str) -> x509.OtherName:
    value = _HardwareModuleName({"hw_type": hardware_type, "hw_serial_num": serial.encode("ascii")})
    return x509.OtherName(HARDWARE_MODULE_NAME, value.dump())


def read_hardware_module_name(value: bytes) -> tuple[str, bytes]:
    """Type (OID, dotted) and serial. Raises ValueError for anything but exactly one."""
    try:
        found = _HardwareModuleName.load(value, strict=True)
        return str(found["hw_type"].dotted), bytes(found["hw_serial_num"].native)
    except (TypeError, ValueError) as problem:
        raise ValueError("not a HardwareModuleName") from problem


def hardware_serial(found: x509.Certificate) -> str:
    """The serial in the certificate's hardwareModuleName. Raises ValueError when there is none."""
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        name = next(n for n in names if isinstance(n, x509.OtherName))
    except (x509.ExtensionNotFound, StopIteration) as problem:
        raise ValueError("no hardwareModuleName") from problem
    return read_hardware_module_name(name.value)[1].decode("ascii")


def new_serial_number() -> int:
    """Positive, and always 20 octets in DER."""
    return secrets.randbits(158) | 1 << 158


def validity(
    days: int | None, *, now: datetime.datetime | None = None
) -> tuple[datetime.datetime, datetime.datetime]:
    """notBefore and notAfter; ``None`` days is no end."""
    start = (now or datetime.datetime.now(datetime.UTC)).replace(microsecond=0)
    end = NO_END if days is None else start + datetime.timedelta(days=days)
    return start - _BACKDATED, end


def device_builder(
    key: PublicKey,
    serial: str,
    issuing: x509.Certificate,
    *,
    number: int,
    days: int | None,
    hardware_type: str = HARDWARE_TYPE,
    crl_url: str | None = None,
) -> x509.CertificateBuilder:
    """The certificate as it is to be signed; nothing in it comes from the box but the key."""
    begin, end = validity(days)
    issuer_id = issuing.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    aki = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id)
    name = x509.SubjectAlternativeName([hardware_module_name(serial, hardware_type)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(device_subject(serial))
        .issuer_name(issuing.subject)
        .public_key(key)
        .serial_number(number)
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(name, critical=False)
        .add_extension(aki, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
    if crl_url is not None:
        builder = builder.add_extension(distribution_point(crl_url), critical=False)
    return builder


def distribution_point(url: str) -> x509.CRLDistributionPoints:
    where = [x509.UniformResourceIdentifier(url)]
    point = x509.DistributionPoint(
        full_name=where, relative_name=None, reasons=None, crl_issuer=None
    )
    return x509.CRLDistributionPoints([point])


def key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def period(found: x509.Certificate) -> int | None:
    """How many days it was issued for; None: no end."""
    if found.not_valid_after_utc == NO_END:
        return None
    return (found.not_valid_after_utc - found.not_valid_before_utc) // datetime.timedelta(days=1)


def profile_faults(
    found: x509.Certificate, serial: str, *, hardware_type: str | None = None
) -> tuple[str, ...]:
    """One clause for everything in which a certificate is not the IDevID of the box ``serial``;
    ``hardware_type``: the OID that it must name, None: any.
    """
    wrong = []
    try:
        if found.subject != device_subject(serial):
            wrong.append(f"its subject is {found.subject.rfc4514_string()[:200]!r}")
    except UNREADABLE as problem:
        return (f"its subject cannot be read ({problem})",)
    if not 152 <= found.serial_number.bit_length() <= 159:
        wrong.append("its serial number is not 20 octets")
    try:
        there = {extension.oid for extension in found.extensions}
        if not _NEEDED <= there <= _ALLOWED:
            return (*wrong, f"its extensions are not the profile's ({_names(there ^ _NEEDED)})")
        wrong += _extension_faults(found.extensions, serial, hardware_type)
    except UNREADABLE as problem:
        return (*wrong, f"its extensions cannot be read ({problem})")
    return tuple(wrong)


def _extension_faults(
    extensions: x509.Extensions, serial: str, hardware_type: str | None
) -> list[str]:
    basic = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    purpose = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    wrong = []
    if basic.value.ca or not basic.critical:
        wrong.append("it is not marked as an end entity's")
    if not usage.critical or usage.value != key_usage(digital_signature=True):
        wrong.append("its key usage is not digitalSignature alone")
    if list(purpose) != [ExtendedKeyUsageOID.CLIENT_AUTH]:
        wrong.append("it is not for client authentication alone")
    match names:
        case [x509.OtherName(type_id=type_id, value=value)] if type_id == HARDWARE_MODULE_NAME:
            kind, label = read_hardware_module_name(value)
            if label != serial.encode():
                wrong.append("its hardwareModuleName has another serial")
            if hardware_type not in (None, kind):
                wrong.append(f"its hardware type is {kind}, not {hardware_type}")
        case _:
            wrong.append("its subjectAltName is not one hardwareModuleName")
    return wrong


def _names(oids: set[x509.ObjectIdentifier]) -> str:
    return ", ".join(sorted(oid.dotted_string for oid in oids))
