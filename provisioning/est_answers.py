"""What an EST enrollment ends in, and the judgement of what a server issued."""

from __future__ import annotations

import base64
import binascii
import datetime
import json
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from harness.errors import BadFrame, BadInput, IntegrityFailure, Misuse
from provisioning.csr import UNREADABLE


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate for the requested key. ``others`` came with it and are not to be trusted."""

    certificate: x509.Certificate
    others: tuple[x509.Certificate, ...] = ()


@dataclass(frozen=True, slots=True)
class Parked:
    """The server wants to be asked again, with the same octets, not before ``until`` (UTC).

    Kept as a file (``to_json``), it outlives the process. A request that was bound to its
    connection (``bound``) cannot be repeated: it has to be signed anew.
    """

    operation: str
    request: bytes
    until: datetime.datetime
    bound: bool = False

    def to_json(self) -> str:
        return json.dumps(
            {
                "operation": self.operation,
                "request": base64.b64encode(self.request).decode(),
                "until": self.until.isoformat(timespec="seconds"),
                "bound": self.bound,
            }
        )

    @classmethod
    def from_json(cls, text: str, where: str) -> Parked:
        """Raises BadInput for anything but what ``to_json`` gives."""
        try:
            found = json.loads(text)
            if set(found) != {"operation", "request", "until", "bound"}:
                raise ValueError
            if found["operation"] not in ("simpleenroll", "simplereenroll"):
                raise ValueError
            until = datetime.datetime.fromisoformat(found["until"])
            if until.tzinfo is None or not isinstance(found["bound"], bool):
                raise ValueError
            request = base64.b64decode(found["request"], validate=True)
        except (ValueError, TypeError, binascii.Error):
            raise BadInput(
                where=where, key="the file", value="(other text)", expected="a parked enrollment"
            ) from None
        return cls(found["operation"], request, until, found["bound"])


def loaded_request(der: bytes) -> x509.CertificateSigningRequest:
    """Raises Misuse unless these octets are a PKCS#10 request that its own key signed."""
    try:
        found = x509.load_der_x509_csr(der)
        proven = found.is_signature_valid
    except UNREADABLE as problem:
        raise Misuse(f"the certificate request cannot be read: {problem}") from None
    if not proven:
        raise Misuse("the certificate request is not signed by the key that it names")
    return found


def judged(
    found: tuple[x509.Certificate, ...],
    request: x509.CertificateSigningRequest,
    *,
    same_name: bool,
    now: datetime.datetime | None = None,
) -> Issued:
    """The one certificate for the request's key. Whether its issuer is ours is not judged here.

    Raises IntegrityFailure when none is for the key, or it is a CA's, has ended, or (``same_name``)
    bears another subject than was asked for; BadFrame when several are for the key.
    """
    mine = [c for c in found if _spki(c) == _spki(request)]
    if not mine:
        raise IntegrityFailure("the EST server issued a certificate for another key")
    if len(mine) > 1:
        raise BadFrame(f"the EST server issued {len(mine)} certificates for one key")
    leaf = mine[0]
    if _is_ca(leaf):
        raise IntegrityFailure("the EST server issued a CA's certificate to a device")
    if leaf.not_valid_after_utc <= (now or datetime.datetime.now(datetime.UTC)):
        raise IntegrityFailure(
            f"the EST server issued a certificate that ended on {leaf.not_valid_after_utc:%Y-%m-%d}"
        )
    if same_name and leaf.subject != request.subject:
        shown = leaf.subject.rfc4514_string()[:200]
        raise IntegrityFailure(f"the EST server issued a certificate for another name: {shown!r}")
    return Issued(leaf, tuple(c for c in found if c is not leaf))


def issued_for(
    found: tuple[x509.Certificate, ...], request: x509.CertificateSigningRequest
) -> tuple[x509.Certificate, ...]:
    """What a server issued upon the request, good or bad: certificates for its key, else all that
    are no CA's. The others are issuers that came along.
    """
    mine = tuple(c for c in found if _spki(c) == _spki(request))
    return mine or tuple(c for c in found if not (_is_ca(c) or _is_self_issued(c)))


def names(of: x509.Certificate | x509.CertificateSigningRequest) -> tuple[x509.Name, bytes]:
    """Subject and subjectAltName (DER): what a re-enrollment must not change (RFC 7030 4.2.2)."""
    try:
        extension = of.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        alternative = extension.public_bytes()
    except (x509.ExtensionNotFound, ValueError):
        alternative = b""
    return of.subject, alternative


def _is_ca(certificate: x509.Certificate) -> bool:
    found = _quietly(
        lambda: certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    )
    return found is True


def _is_self_issued(certificate: x509.Certificate) -> bool:
    return _quietly(lambda: certificate.issuer == certificate.subject) is True


def _quietly(look: Callable[[], bool]) -> bool | None:
    try:
        return look()
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return None


def _spki(of: x509.Certificate | x509.CertificateSigningRequest) -> bytes:
    try:
        return of.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except UNREADABLE:  # a key of a kind that cryptography does not know is not ours
        return b""
