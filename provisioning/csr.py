"""Certificate signing requests: made with the key in a token, checked by whoever certifies."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from harness.errors import DeviceRefused, Misuse
from provisioning.token_key import TokenKey


def registration_id(serial: str) -> str:
    """The serial in lower case: what enrollment services accept (a-z, 0-9, -, 1 to 128)."""
    made = serial.lower()
    if not (1 <= len(made) <= 64 and made.isascii() and made.replace("-", "a").isalnum()):
        raise Misuse(f"serial {serial[:80]!r} is not letters, digits and dashes (64 at most)")
    return made


def device_subject(serial: str) -> x509.Name:
    """The box's name: its registration id, and the serial that is on its label (RFC 8995 2.3.1)."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, registration_id(serial)),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, serial),
        ]
    )


def make_request(key: TokenKey, serial: str) -> bytes:
    """A PKCS#10 request (DER) for the box's name, signed in the token."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(device_subject(serial))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def checked_request(der: bytes, serial: str) -> ec.EllipticCurvePublicKey:
    """The public key of a request that deserves a certificate.

    Raises DeviceRefused unless it proves possession of a P-256 key, is named exactly as the box
    with ``serial`` and asks for no extension.
    """
    try:
        request = x509.load_der_x509_csr(der)
        key = request.public_key()
        asks_for_more = bool(len(request.extensions))
        proven = request.is_signature_valid
    except (ValueError, x509.DuplicateExtension) as problem:
        raise DeviceRefused(f"the request for {serial} cannot be read: {problem}") from problem
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DeviceRefused(f"the request for {serial} is not for a P-256 key")
    if not proven:
        raise DeviceRefused(f"the request for {serial} is not signed by the key that it names")
    if request.subject != device_subject(serial):
        raise DeviceRefused(
            f"the request for {serial} is for {request.subject.rfc4514_string()[:200]!r} instead"
        )
    if asks_for_more:
        raise DeviceRefused(f"the request for {serial} asks for extensions, which are the CA's")
    return key
