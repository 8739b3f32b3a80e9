"""What goes over the wire in EST (RFC 7030 as corrected by RFC 8951). Pure: no connection here."""

from __future__ import annotations

import base64
import binascii
import re
import warnings

from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import AttributeOID

from harness.errors import BadFrame
from provisioning.pem_text import is_der

CHALLENGE_PASSWORD = "1.2.840.113549.1.9.7"  # noqa: S105 - an OID
LONGEST_TEXT = 200
MOST_CERTIFICATES = 20


def request_body(der: bytes) -> bytes:
    """PKCS#10 as EST sends it: base64 in lines of 64.

    RFC 8951 3 allows one line as well, but libest answers 400 to that (provisioning-facts 2b).
    """
    text = base64.b64encode(der)
    return b"".join(text[i : i + 64] + b"\n" for i in range(0, len(text), 64))


def body_octets(body: bytes, what: str, whose: str = "the server's answer") -> bytes:
    """What a body encodes. Its Content-Transfer-Encoding never matters (RFC 8951 3.1).

    Raises BadFrame, saying what it looks like instead: HTML, PEM, bare DER, nothing.
    """
    text = re.sub(rb"\s+", b"", body)
    if not text:
        raise BadFrame(f"{what}: {whose} is empty")
    seems = {b"<": "a page of HTML", b"-": "PEM", b"0\x82": "bare DER", b"0\x81": "bare DER"}
    for start, kind in seems.items():
        if body.lstrip().startswith(start):
            raise BadFrame(f"{what}: {whose} is {kind} instead of base64")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise BadFrame(f"{what}: {whose} is not base64") from None


def certificates(body: bytes, what: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a certs-only PKCS#7; none is BadFrame, as is anything else but that."""
    octets = body_octets(body, what)
    try:
        with warnings.catch_warnings():
            # cryptography warns when it takes BER for DER, and where it goes on with an odd name
            warnings.simplefilter("ignore")
            found = pkcs7.load_der_pkcs7_certificates(octets)
    except Exception as problem:  # noqa: BLE001 - bytes of a stranger, and Rust panics are neither
        reason = f"{type(problem).__name__}: {problem}"[:LONGEST_TEXT]
        raise BadFrame(f"{what}: the server's answer holds no certificates ({reason})") from None
    if not found:
        raise BadFrame(
            f"{what}: the server's answer holds no certificate at all",
            hint="libest does that when its file of CA certificates has a form that it cannot read",
        )
    if len(found) > MOST_CERTIFICATES:
        raise BadFrame(f"{what}: the server's answer holds {len(found)} certificates")
    return tuple(found)


def salvaged(body: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of an answer whose wrapping is wrong; none when there are none.

    For what a CA has issued and does not take back: PKCS#7 or certificates themselves, as base64,
    PEM or DER, behind a byte order mark. Whether they are good is judged as that of any others.
    """
    if is_der(body):
        wrapped = [body]
    else:
        text = body.decode("utf-8-sig", errors="replace")
        inner = re.findall(r"-----BEGIN [A-Z0-9 ]+-----(.*?)-----END", text, re.DOTALL) or [text]
        wrapped = [octets for one in inner if (octets := _base64(one))]
    found: list[x509.Certificate] = []
    for octets in wrapped[:MOST_CERTIFICATES]:
        for load in (pkcs7.load_der_pkcs7_certificates, _bare):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found += load(octets)
                break
            except Exception:  # noqa: BLE001, S112 - a parser fed by a stranger
                continue
    return tuple(found[:MOST_CERTIFICATES])


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return b""


def _bare(octets: bytes) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(octets)]


def wanted_attributes(body: bytes, what: str) -> tuple[str, ...]:
    """The OIDs of a csrattrs answer: ``SEQUENCE OF (OID | Attribute)`` (RFC 7030 4.5.2).

    An empty answer has no wishes: some servers say 200 where RFC 7030 says 204.
    """
    if not body.strip():
        return ()
    octets = body_octets(body, what)
    try:
        oids = []
        for item in core.SequenceOf.load(octets, spec=core.Any, strict=True):
            tagged = core.load(item.dump(), strict=True)
            if isinstance(tagged, core.Sequence):
                tagged = tagged[0]
            if not isinstance(tagged, core.ObjectIdentifier):
                raise ValueError("neither an OID nor an attribute")
            oids.append(tagged.dotted)
    except (ValueError, TypeError, KeyError, IndexError) as problem:
        raise BadFrame(f"{what}: the server's wanted attributes cannot be read") from problem
    return tuple(oids)


def bound_request(key: ec.EllipticCurvePrivateKey, subject: x509.Name, tls_unique: bytes) -> bytes:
    """A request whose challengePassword is base64 of the connection's tls-unique (RFC 7030 3.5)."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .add_attribute(AttributeOID.CHALLENGE_PASSWORD, base64.b64encode(tls_unique))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


def plain_text(body: bytes) -> str:
    """A server's explanation, cut and without anything that a terminal would obey."""
    text = re.sub(r"<[^>]*>", " ", body[:4096].decode(errors="replace"))
    words = "".join(c if c.isprintable() else " " for c in text).split()
    return " ".join(words)[:LONGEST_TEXT]
