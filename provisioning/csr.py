"""Certificate signing requests: made with the key in a token, checked by whoever certifies."""

from __future__ import annotations

import base64
from collections.abc import Collection

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import AttributeOID, NameOID

from harness.errors import DeviceRefused, Misuse
from harness.serial_number import FORM, is_serial
from provisioning.authority_policy import DEVICE
from provisioning.token_key import SigningKey
from provisioning.token_public import KeyProfile, PublicKey

UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
)
"""What cryptography raises, sooner or later, for a request or certificate that is none."""
_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")
_LARGEST = 16384
"""Octets: an RSA-4096 request has about 1700."""
_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


def registration_id(serial: str) -> str:
    """The serial in lower case: what enrollment services accept (a-z, 0-9, -, 1 to 128)."""
    if not is_serial(serial):
        raise Misuse(f"serial {serial[:80]!r} is not {FORM}")
    return serial.lower()


def device_subject(serial: str) -> x509.Name:
    """The box's name: its registration id, and the serial that is on its label (RFC 8995 2.3.1)."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, registration_id(serial)),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, serial),
        ]
    )


def make_request(key: SigningKey, serial: str, *, tls_unique: bytes | None = None) -> bytes:
    """A PKCS#10 request (DER) for the box's name, signed in the token.

    ``tls_unique`` binds it to a TLS connection: its base64 is the challengePassword (RFC 7030 3.5).
    """
    builder = x509.CertificateSigningRequestBuilder().subject_name(device_subject(serial))
    if tls_unique is not None:
        bound = base64.b64encode(tls_unique)
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, bound)
    return _signed(builder, key)


def make_renewal(key: SigningKey, present: x509.Certificate) -> bytes:
    """A request (DER) for exactly the names of ``present``, as RFC 7030 4.2.2 wants it."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(present.subject)
    if (names := alternative_names(present)) is not None:
        builder = builder.add_extension(names, critical=False)
    return _signed(builder, key)


def alternative_names(found: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _signed(builder: x509.CertificateSigningRequestBuilder, key: SigningKey) -> bytes:
    profile = KeyProfile.of(key.public_key())
    made = builder.sign(key, profile.hash if profile else hashes.SHA256())
    return made.public_bytes(serialization.Encoding.DER)


def checked_request(
    der: bytes,
    serial: str,
    *,
    allowed: Collection[KeyProfile] = DEVICE.allowed,
    names: x509.SubjectAlternativeName | None = None,
) -> PublicKey:
    """The public key of a request (PKCS#10, DER) that deserves a certificate.

    Raises DeviceRefused unless all of this is so:

    - it is signed by the key that it names, with a hash of the SHA-2 family (or Ed25519);
    - that key is of an ``allowed`` kind; an RSA key has the exponent 65537;
    - it is named exactly as the box with ``serial``;
    - it asks for no extension: those are the CA's, and what is not copied is not asked for either
      (but for exactly ``names``, those of the certificate that a re-enrollment renews);
    - it has no other attribute than a challengePassword, which EST uses (RFC 7030 3.5).

    Only the key is ever taken from a request.
    """
    if len(der) > _LARGEST:
        raise DeviceRefused(f"the request for {serial} has {len(der)} octets, {_LARGEST} at most")
    try:
        request = x509.load_der_x509_csr(der)
        key = request.public_key()
        asked = [extension.value for extension in request.extensions]
        attributes = [attribute.oid for attribute in request.attributes]
        hashed, proven = request.signature_hash_algorithm, request.is_signature_valid
        subject = request.subject
    except UNREADABLE as problem:
        raise DeviceRefused(f"the request for {serial} cannot be read: {problem}") from problem
    profile = KeyProfile.of(key)
    if profile not in allowed or profile is None:
        kinds = ", ".join(kind.value for kind in allowed)
        raise DeviceRefused(f"the request for {serial} is for a key that is none of {kinds}")
    if hashed is not None and not isinstance(hashed, _HASHES):
        raise DeviceRefused(f"the request for {serial} is signed with {hashed.name}, too weak")
    if not proven:
        raise DeviceRefused(f"the request for {serial} is not signed by the key that it names")
    if subject != device_subject(serial):
        raise DeviceRefused(
            f"the request for {serial} is for {subject.rfc4514_string()[:200]!r} instead"
        )
    again = names is not None and asked == [names]
    if (asked or _EXTENSION_REQUEST in attributes) and not again:
        raise DeviceRefused(f"the request for {serial} asks for extensions, which are the CA's")
    known = {AttributeOID.CHALLENGE_PASSWORD} | ({_EXTENSION_REQUEST} if again else set())
    strange = [oid for oid in attributes if oid not in known]
    if strange:
        raise DeviceRefused(
            f"the request for {serial} has the attribute {strange[0].dotted_string}, not known here"
        )
    return key  # type: ignore[return-value]  # it has a profile, so it is of one of these classes
