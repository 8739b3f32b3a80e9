"""The factory's certificate authority: a root and an issuing CA, their keys in a token.

::

    root (self-signed, path length 1) → issuing (path length 0) → a box's certificate

What it keeps besides the token: its two certificates, and every certificate that it issued, by
key, so that asking again for the same key gives the same certificate.
"""

from __future__ import annotations

import datetime
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from filelock import FileLock

from harness.deadline import Deadline
from provisioning.certificates import fits, pem
from provisioning.csr import checked_request, device_subject
from provisioning.private_files import private_directory, write_durably
from provisioning.token import Token
from provisioning.token_key import TokenKey

_BACKDATED = datetime.timedelta(minutes=10)
"""Boxes whose clock is a little behind must not find their certificate not yet valid."""
_CA_DAYS = 3650
_ROOT, _ISSUING = b"trustbox-root-ca", b"trustbox-issuing-ca"


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs with ``token``, whose session must be logged in. Made by ``open_authority``."""

    token: Token
    state: Path
    root: x509.Certificate
    issuing: x509.Certificate

    def certify(self, request: bytes, serial: str, *, days: int, by: Deadline) -> x509.Certificate:
        """The certificate for a box's request: the one issued before if it still fits, or new.

        Raises DeviceRefused when the request does not deserve one (see checked_request).
        """
        key = checked_request(request, serial)
        place = private_directory(self.state / "issued") / f"{_fingerprint(key)}.pem"
        with FileLock(self.state / "lock", timeout=by.left("the lock on the factory's CA")):
            if place.exists():
                earlier = x509.load_pem_x509_certificate(place.read_bytes())
                if fits(earlier, key=key, serial=serial, issuing=self.issuing):
                    return earlier
            made = self._issue(key, serial, days, by)
            write_durably(place, pem(made))
        return made

    def _issue(
        self, key: ec.EllipticCurvePublicKey, serial: str, days: int, by: Deadline
    ) -> x509.Certificate:
        pair = self.token.find(_ISSUING, by=by)
        assert pair is not None  # noqa: S101 - open_authority made it
        issuer_id = self.issuing.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        aki = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_id)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        return (
            _builder(device_subject(serial), self.issuing.subject, key, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(aki, critical=False)
            .sign(TokenKey(self.token, pair, by=by), hashes.SHA256())
        )


def open_authority(token: Token, state: Path, *, by: Deadline) -> Authority:
    """The CA whose keys ``token`` holds and whose certificates are in ``state``; made if absent.

    A certificate that does not belong to its key is replaced: the key is what counts.
    """
    with FileLock(private_directory(state) / "lock", timeout=by.left("the lock on the CA")):
        root = _own(token, state / "root.pem", _ROOT, "TrustBox root CA", None, by)
        issuing = _own(token, state / "issuing.pem", _ISSUING, "TrustBox issuing CA", root, by)
    return Authority(token, state, root, issuing)


def _own(
    token: Token, place: Path, key_id: bytes, name: str, root: x509.Certificate | None, by: Deadline
) -> x509.Certificate:
    pair, _ = token.ensure(key_id, name, by=by)
    if place.exists():
        found = x509.load_pem_x509_certificate(place.read_bytes())
        signer = root or found
        if found.public_key() == pair.public_key and found.issuer == signer.subject:
            return found
    # A name of its own for each CA: two stations' roots must not be taken for one another.
    unique = x509.NameAttribute(NameOID.SERIAL_NUMBER, pair.spki_sha256[:16])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name), unique])
    signer_pair = pair if root is None else token.find(_ROOT, by=by)
    assert signer_pair is not None  # noqa: S101 - made by the call before
    aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_pair.public_key)
    limits = x509.BasicConstraints(ca=True, path_length=1 if root is None else 0)
    made = (
        _builder(subject, subject if root is None else root.subject, pair.public_key, _CA_DAYS)
        .add_extension(limits, critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(aki, critical=False)
        .sign(TokenKey(token, signer_pair, by=by), hashes.SHA256())
    )
    write_durably(place, pem(made), mode=0o644)
    return made


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        # 159 random bits: positive, and never more than 20 octets (RFC 5280 4.1.2.2).
        .serial_number(secrets.randbits(159) | 1)
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(
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


def _fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(
        key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return digest.finalize().hex()
