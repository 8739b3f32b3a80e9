"""The TLS certificate of this station's own services, and the root that vouches for it.

::

    <state>/services/tls/
        root.key      0600   who has it can pass for these services; nothing else trusts it
        root.pem             what clients store, for ten years
        server.key    0600
        server.pem           for a year, under the root: made anew when due, or for another name

Clients (boxes among them) keep root.pem, so the root's key stays as it is, whatever is made anew:
a new root.pem for the same key and name verifies what the old one did. What cannot be signed any
more because the root's key is lost stops, and says what that means for who stored root.pem.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from harness.errors import RigError
from provisioning.certificates import pem
from provisioning.csr import UNREADABLE
from provisioning.idevid import key_usage, new_serial_number, validity
from provisioning.local_http import ServerFiles
from provisioning.private_files import private_directory, write_durably

DAYS = 365
ROOT_DAYS = 3650
USUAL_NAMES = ("localhost", "127.0.0.1")
_TITLE = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TrustBox local services")])
_UNUSABLE = (OSError, *UNREADABLE, InvalidSignature, x509.ExtensionNotFound)
"""What reading files that are gone, cut or of somebody else raises."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """``here`` is the directory."""

    here: Path

    @property
    def root(self) -> Path:
        """What clients of the services must trust."""
        return self.here / "root.pem"

    @property
    def root_key(self) -> Path:
        return self.here / "root.key"

    @property
    def server(self) -> ServerFiles:
        return ServerFiles(self.here / "server.pem", self.here / "server.key")

    def ensure(self, names: Iterable[str]) -> None:
        """Have a certificate for these host names and addresses, besides those that it has.

        Raises RigError when another one is needed and the root's key is gone, damaged, or another
        root's.
        """
        private_directory(self.here)
        root, there = _certificate(self.root), _certificate(self.server.chain)
        ours = root and there and _issued(there, root.public_key())
        wanted, had = {*USUAL_NAMES, *names}, _names(there) if there and ours else set[str]()
        # A root from before its key was kept serves to its end, and cannot be renewed.
        days = DAYS if self.root_key.exists() else 0
        serves = there and ours and self._serves(there)
        if root and serves and wanted <= had and _lasts(root, days):
            return
        key = self._root_key(root, there, wanted - had)
        if root is None or root.public_key() != key.public_key() or not _lasts(root, DAYS):
            root = _self_signed(key)
            write_durably(self.root, pem(root), mode=0o644)
        self._issue(root, key, sorted(wanted | had))

    def _serves(self, found: x509.Certificate) -> bool:
        key = _key(self.server.key)
        fits = key is not None and key.public_key() == found.public_key()
        return fits and _lasts(found, DAYS / 3)

    def _root_key(
        self, root: x509.Certificate | None, there: x509.Certificate | None, lacking: set[str]
    ) -> ec.EllipticCurvePrivateKey:
        key = _key(self.root_key)
        if key is None and not any(
            path.exists() for path in (self.root, self.root_key, self.server.chain)
        ):
            key = ec.generate_private_key(ec.SECP256R1())
            _write_key(self.root_key, key)
        if key is None:
            state = "damaged" if self.root_key.exists() else "gone"
            raise self._lost(f"is {state}", lacking)
        known = [
            *([root.public_key() == key.public_key()] if root else []),
            *([_issued(there, key.public_key())] if there else []),
        ]
        if known and not any(known):
            raise self._lost("is another root's", lacking)
        return key

    def _lost(self, how: str, lacking: set[str]) -> RigError:
        named = f"for {', '.join(sorted(lacking))} " if lacking else ""
        return RigError(
            f"the services' TLS certificate {named}cannot be made anew: {self.root_key} {how}",
            hint=f"Bring it back from a backup. If it is lost for good, move {self.here} away and"
            " run this again: that makes another root, which everybody who stored root.pem has to"
            " be given (boxes by another trustbox provision).",
        )

    def _issue(
        self, root: x509.Certificate, root_key: ec.EllipticCurvePrivateKey, names: list[str]
    ) -> None:
        key = _key(self.server.key)
        if key is None:
            key = ec.generate_private_key(ec.SECP256R1())
            _write_key(self.server.key, key)
        above = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(above)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        made = (
            _builder(subject, key.public_key(), DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(list(map(_name, names))), critical=False)
            .add_extension(authority, critical=False)
            .sign(root_key, hashes.SHA256())
        )
        write_durably(self.server.chain, pem(made), mode=0o644)


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return (
        _builder(_TITLE, key.public_key(), ROOT_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(key_cert_sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    begin, end = validity(days)
    return (
        x509.CertificateBuilder()
        .issuer_name(_TITLE)
        .subject_name(subject)
        .public_key(public)
        .serial_number(new_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except _UNUSABLE:
        return None


def _key(path: Path) -> ec.EllipticCurvePrivateKey | None:
    try:
        found = serialization.load_pem_private_key(path.read_bytes(), None)
    except _UNUSABLE:
        return None
    return found if isinstance(found, ec.EllipticCurvePrivateKey) else None


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    write_durably(path, private)


def _names(found: x509.Certificate) -> set[str]:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except _UNUSABLE:
        return set()
    hosts = names.get_values_for_type(x509.DNSName)
    return {*hosts, *map(str, names.get_values_for_type(x509.IPAddress))}


def _issued(found: x509.Certificate, by: object) -> bool:
    if not isinstance(by, ec.EllipticCurvePublicKey) or found.issuer != _TITLE:
        return False
    try:
        by.verify(found.signature, found.tbs_certificate_bytes, ec.ECDSA(hashes.SHA256()))
    except _UNUSABLE:
        return False
    return True


def _lasts(found: x509.Certificate, days: float) -> bool:
    """Good now (a clock that was ahead once makes those of the future), and so many days on."""
    now = datetime.datetime.now(datetime.UTC)
    end = found.not_valid_after_utc - datetime.timedelta(days=days)
    return found.not_valid_before_utc <= now < end


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
