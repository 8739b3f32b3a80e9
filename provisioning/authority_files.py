"""Where a CA's files are and how they are read.

::

    <state>/ca/           0700
        ca.json           what it was set up to be (authority_settings)
        root.pem issuing.pem      0644
        root.crl issuing.crl      0644, DER: what a web server hands out
        index.sqlite      every certificate that was signed (authority_index)
        ceremony.jsonl    what was done to the CA's own keys, and when
        lock
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from harness.errors import BadInput
from provisioning.authority_index import Index
from provisioning.authority_settings import CaSettings, load_settings
from provisioning.certificates import pem
from provisioning.private_files import write_durably


@dataclass(frozen=True, slots=True)
class CaFiles:
    """``ca`` is the directory."""

    ca: Path

    @property
    def index(self) -> Index:
        return Index(self.ca / "index.sqlite")

    def settings(self) -> CaSettings | None:
        return load_settings(self.ca)

    def fixed(self, wanted: CaSettings) -> list[str]:
        """Which of the wanted settings differ from those that certificates already stand on: the
        root's once there is root.pem, all of them once there is issuing.pem.
        """
        before = self.settings()
        if before is None:
            return []
        was, now = before.to_dict(), wanted.to_dict()
        keys = list(was) if self.has("issuing") else ["root"] if self.has("root") else []
        return [key for key in keys if was[key] != now[key]]

    def has(self, role: str) -> bool:
        return (self.ca / f"{role}.pem").exists()

    def certificate(self, role: str) -> x509.Certificate:
        """Of ``root`` or ``issuing``. Raises BadInput when it cannot be read."""
        place = self.ca / f"{role}.pem"
        try:
            return x509.load_pem_x509_certificate(place.read_bytes())
        except OSError as problem:
            raise BadInput(
                where=str(place), key="the file", value=problem.strerror, expected="a certificate"
            ) from problem
        except ValueError as problem:
            raise BadInput(
                where=str(place),
                key="the file",
                value="damaged",
                expected="a PEM certificate",
                hint="Put it aside: trustbox ca init puts back what the index holds, and makes no"
                " key. Without index.sqlite bring it back from the backup.",
            ) from problem

    def save_certificate(self, role: str, made: x509.Certificate) -> None:
        write_durably(self.ca / f"{role}.pem", pem(made), mode=0o644)

    def issuing_is_the_roots(self) -> bool:
        """Whether root.pem vouches for issuing.pem."""
        try:
            self.certificate("issuing").verify_directly_issued_by(self.certificate("root"))
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True

    def crl_path(self, issuer: str) -> Path:
        return self.ca / f"{issuer}.crl"

    def crl(self, issuer: str) -> x509.CertificateRevocationList | None:
        """The one that is published; None when there is none that can be read."""
        try:
            return x509.load_der_x509_crl(self.crl_path(issuer).read_bytes())
        except (OSError, ValueError):
            return None

    def save_crl(self, issuer: str, made: x509.CertificateRevocationList) -> Path:
        place = self.crl_path(issuer)
        write_durably(place, made.public_bytes(serialization.Encoding.DER), mode=0o644)
        return place
