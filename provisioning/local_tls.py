"""The TLS certificate of this station's own services, and the root that vouches for it.

The root's key signs one server certificate and is then forgotten: nobody can make another one that
clients of these services would believe. What is due, or lacks a name, is made anew as a whole.
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

from provisioning.certificates import pem
from provisioning.csr import UNREADABLE
from provisioning.idevid import key_usage, new_serial_number, validity
from provisioning.local_http import ServerFiles
from provisioning.private_files import private_directory, write_durably

DAYS = 365
USUAL_NAMES = ("localhost", "127.0.0.1")
_UNUSABLE = (OSError, *UNREADABLE, InvalidSignature, x509.ExtensionNotFound)
"""What reading files that are gone, cut or of somebody else raises: they are made anew."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """``here``: root.pem (0644), server.pem (0644) and server.key (0600)."""

    here: Path

    @property
    def root(self) -> Path:
        """What clients of the services must trust."""
        return self.here / "root.pem"

    @property
    def server(self) -> ServerFiles:
        return ServerFiles(self.here / "server.pem", self.here / "server.key")

    def ensure(self, names: Iterable[str]) -> None:
        """Have a certificate for these host names and addresses, besides those that it has."""
        wanted = {*USUAL_NAMES, *names}
        there = self._names()
        if there is not None and wanted <= there:
            return
        _make(self, sorted(wanted | (there or set())))

    def _names(self) -> set[str] | None:
        """Those of the present certificate; None when there is none that will do."""
        try:
            found = x509.load_pem_x509_certificate(self.server.chain.read_bytes())
            root = x509.load_pem_x509_certificate(self.root.read_bytes())
            key = serialization.load_pem_private_key(self.server.key.read_bytes(), None)
            found.verify_directly_issued_by(root)
            names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except _UNUSABLE:
            return None
        life = datetime.timedelta(days=DAYS)
        if found.not_valid_after_utc - datetime.datetime.now(datetime.UTC) < life / 3:
            return None
        if key.public_key() != found.public_key():
            return None
        hosts = names.get_values_for_type(x509.DNSName)
        return {*hosts, *map(str, names.get_values_for_type(x509.IPAddress))}


def _make(files: TlsFiles, names: list[str]) -> None:
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    begin, end = validity(DAYS)
    title = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TrustBox local services")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    root_id = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
    above = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_id)

    def builder(name: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .issuer_name(title)
            .subject_name(name)
            .public_key(public)
            .serial_number(new_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )

    root = (
        builder(title, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(key_cert_sign=True), critical=True)
        .add_extension(root_id, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    server_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    server = (
        builder(subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(list(map(_name, names))), critical=False)
        .add_extension(server_id, critical=False)
        .add_extension(above, critical=False)
        .sign(root_key, hashes.SHA256())
    )
    private_directory(files.here)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    # The root last: without it, or with an old one, all of them are made anew.
    write_durably(files.server.key, private)
    write_durably(files.server.chain, pem(server), mode=0o644)
    write_durably(files.root, pem(root), mode=0o644)


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)
