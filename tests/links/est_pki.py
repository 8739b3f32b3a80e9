"""A small PKI in files, for both ends of TLS in tests. Its keys protect nothing."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisioning.http_tls import FileIdentity
from provisioning.idevid import key_usage

Key = ec.EllipticCurvePrivateKey
DAY = datetime.timedelta(days=1)


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def csr(key: Key, text: str) -> bytes:
    """A PKCS#10 request, DER."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(name(text))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def pem_of(*certificates: x509.Certificate) -> str:
    return "".join(c.public_bytes(serialization.Encoding.PEM).decode() for c in certificates)


def write_key(path: Path, key: Key) -> None:
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    path.chmod(0o600)


@dataclass(frozen=True, slots=True)
class Pki:
    """A root in ``here`` (ca.pem, ca.key), and a server's certificate for localhost from it."""

    here: Path
    root: x509.Certificate
    key: Key

    @classmethod
    def make(cls, here: Path, title: str = "test root") -> Pki:
        key = new_key()
        root = _certificate(name(title), key.public_key(), name(title), key, ca=True)
        made = cls(here, root, key)
        write_key(here / "ca.key", key)
        (here / "ca.pem").write_text(made.text)
        server = new_key()
        write_key(here / "server.key", server)
        (here / "server.pem").write_text(pem_of(made.issue(server.public_key(), "localhost")))
        return made

    @property
    def text(self) -> str:
        return pem_of(self.root)

    def issue(
        self,
        key: CertificatePublicKeyTypes,
        text: str,
        *,
        ca: bool = False,
        until: datetime.datetime | None = None,
        host: str = "localhost",
    ) -> x509.Certificate:
        return _certificate(
            name(text), key, self.root.subject, self.key, ca=ca, until=until, host=host
        )

    def bare(
        self,
        key: CertificatePublicKeyTypes,
        text: str,
        *,
        until: datetime.datetime | None = None,
    ) -> x509.Certificate:
        """A certificate without subjectAltName and usages."""
        return _certificate(
            name(text), key, self.root.subject, self.key, ca=False, until=until, bare=True
        )

    def rekey(self, key: Key) -> None:
        """Give the server this key."""
        write_key(self.here / "server.key", key)

    def intermediate(self, title: str) -> Pki:
        """A CA below this one, with the same directory."""
        key = new_key()
        return Pki(self.here, self.issue(key.public_key(), title, ca=True), key)

    def identity(self, text: str, *, ended: bool = False, above: str = "") -> FileIdentity:
        """A client's certificate and key in files; ``above``: PEM of issuers to send along."""
        key = new_key()
        until = datetime.datetime.now(datetime.UTC) - DAY if ended else None
        leaf = self.issue(key.public_key(), text, until=until)
        chain, private = self.here / f"{text}.pem", self.here / f"{text}.key"
        chain.write_text(pem_of(leaf) + above)
        write_key(private, key)
        return FileIdentity(chain, private)


def _certificate(
    subject: x509.Name,
    key: CertificatePublicKeyTypes,
    issuer: x509.Name,
    signer: Key,
    *,
    ca: bool,
    until: datetime.datetime | None = None,
    bare: bool = False,
    host: str = "localhost",
) -> x509.Certificate:
    end = until or datetime.datetime.now(datetime.UTC) + 30 * DAY
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    hosts = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - 40 * DAY)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if ca:  # RFC 5280 4.2.1.3: CAs' certificates say so
        usage = key_usage(key_cert_sign=True, crl_sign=True)
        builder = builder.add_extension(usage, critical=True)
    if not ca and not bare:
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    return builder.sign(signer, hashes.SHA256())
