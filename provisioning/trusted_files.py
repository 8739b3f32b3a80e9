"""Certificates in PEM files of the station's: roots that a plan names, what a command is given.

A file of them is whole or it is refused: one that is empty or was cut trusts nobody, and never
becomes "whatever this host trusts".
"""

from __future__ import annotations

import re
from pathlib import Path

from cryptography import x509

from harness.errors import BadInput
from provisioning.certificates import pem
from provisioning.csr import UNREADABLE

LARGEST = 1 << 20
"""Octets of a file; Mozilla's 150 roots take a fifth of it."""
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_ROOTS = "roots that may vouch for the server, PEM"


def certificate_in(place: Path) -> x509.Certificate:
    """The first one of a PEM file. Raises BadInput as ``certificates_in`` does."""
    return certificates_in(place, "a certificate, PEM")[0]


def certificates_in(
    place: Path, expected: str = "certificates, PEM"
) -> tuple[x509.Certificate, ...]:
    """All of a PEM file. Raises BadInput when it has none, when one of them cannot be read, and for
    a block that was cut, or anything after the last one.
    """
    return certificates_of(pem_text(place), where=str(place), expected=expected)


def certificates_of(
    text: str, *, where: str, expected: str = "certificates, PEM"
) -> tuple[x509.Certificate, ...]:
    """See ``certificates_in``; ``where`` names the text in errors."""

    def wrong(found: str) -> BadInput:
        return BadInput(where=where, key="the file", value=found, expected=expected)

    if not text.strip():
        raise wrong("(empty)")
    rest, last = [], 0
    for block in _BLOCK.finditer(text):
        rest.append(text[last : block.start()])
        last = block.end()
    # OpenSSL and cryptography take what is whole and say nothing of the others.
    if any("-----BEGIN" in one or "-----END" in one for one in (*rest, text[last:])):
        raise wrong("(a PEM block that was cut)")
    if last and text[last:].strip():
        raise wrong("(other text after the last PEM block)")
    try:
        return tuple(x509.load_pem_x509_certificates(text.encode()))
    except UNREADABLE:
        raise wrong("(other text)") from None


def roots_in(place: Path) -> str:
    """The certificates of a file that says whom to trust, as PEM text. Raises BadInput as
    ``certificates_in`` does, before anybody is connected to.
    """
    return roots_of(pem_text(place), where=str(place))


def roots_of(text: str, *, where: str = "the trusted certificates") -> str:
    """``text`` itself is PEM; what comes back has its certificates and nothing else."""
    return pem(*certificates_of(text, where=where, expected=_ROOTS)).decode()


def pem_text(place: Path) -> str:
    """Raises BadInput when it cannot be read."""
    try:
        with place.open("rb") as file:
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise BadInput(
                where=str(place), key="size", value="more", expected=f"{LARGEST} octets at most"
            )
        return text.decode()
    except (OSError, UnicodeDecodeError) as problem:
        shown = getattr(problem, "strerror", None) or type(problem).__name__
        raise BadInput(
            where=str(place), key="the file", value=shown, expected="a readable PEM file"
        ) from None
