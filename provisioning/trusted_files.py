"""Certificates in PEM files of the station's: roots that a plan names, what a command is given."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from harness.errors import BadInput
from provisioning.csr import UNREADABLE


def certificate_in(place: Path) -> x509.Certificate:
    """The first one of a PEM file. Raises BadInput when it has none."""
    return certificates_in(place, "a certificate, PEM")[0]


def certificates_in(
    place: Path, expected: str = "certificates, PEM"
) -> tuple[x509.Certificate, ...]:
    """All of a PEM file. Raises BadInput when it has none."""
    try:
        return tuple(x509.load_pem_x509_certificates(pem_text(place).encode()))
    except UNREADABLE:
        raise BadInput(
            where=str(place), key="the file", value="(other text)", expected=expected
        ) from None


def pem_text(place: Path) -> str:
    """Raises BadInput when it cannot be read."""
    try:
        return place.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as problem:
        shown = getattr(problem, "strerror", None) or type(problem).__name__
        raise BadInput(
            where=str(place), key="the file", value=shown, expected="a readable PEM file"
        ) from None
