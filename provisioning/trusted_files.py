"""Certificates in files of the station's: roots that a plan names, what a command is given.

PEM (``pem_text`` says how tolerant), or one certificate in DER. A file of them is whole or it is
refused: one that is empty or was cut trusts nobody, and never becomes "whatever this host trusts".
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509

from harness.errors import BadInput
from provisioning.certificates import pem
from provisioning.csr import UNREADABLE
from provisioning.pem_text import Wrong, blocks_of, is_der
from provisioning.private_files import read_bounded

LARGEST = 1 << 20
"""Octets of a file; Mozilla's 150 roots take a fifth of it."""
_LABELS = ("CERTIFICATE", "X509 CERTIFICATE")
_OTHERS = {
    "TRUSTED CERTIFICATE": "(TRUSTED CERTIFICATE, OpenSSL's own: openssl x509 -in it -out new)",
    "PKCS7": "(PKCS7: openssl pkcs7 -in it -print_certs -out new)",
    "CMS": "(CMS: openssl pkcs7 -in it -print_certs -out new)",
}
_ROOTS = "roots that may vouch for the server, PEM"

Certificates = tuple[x509.Certificate, ...]


def certificates_in(place: Path, expected: str = "certificates, PEM") -> Certificates:
    """All of a file, as they stand in it. Raises BadInput when it has none, when one of them cannot
    be read, and for a block that was cut, or anything after the last one.
    """
    return certificates_of(_octets(place), where=str(place), expected=expected)


def chain_in(place: Path) -> Certificates:
    """A chain that stands in a file in any order: leaf first, then its issuers, then the others.

    The leaf is the first one unless that issued another of them; then it is the only one that
    issued none. Raises BadInput as ``certificates_in`` does, and when it is not clear.
    """
    expected = "a certificate, then its issuers, PEM"
    return chain_of(_octets(place), where=str(place), expected=expected)


def chain_of(text: bytes, *, where: str, expected: str = "a certificate") -> Certificates:
    """See ``chain_in``; ``where`` names the text in errors."""
    found = list(dict.fromkeys(certificates_of(text, where=where, expected=expected)))
    leaves = [one for one in found if not _issued_another(one, found)]
    below = [one for one in leaves if one.issuer != one.subject] or leaves
    if found[0] in below or len(below) == 1:
        leaf = found[0] if found[0] in below else below[0]
    else:
        raise _wrong(where, expected)(f"({len(below)} that issued none of the others)")
    path = [leaf]
    while above := [c for c in found if c.subject == path[-1].issuer and c not in path]:
        path.append(above[0])
    return (*path, *(one for one in found if one not in path))


def root_in(place: Path) -> tuple[x509.Certificate, Certificates]:
    """The one root of a file, and what else is there: issuers below it, trusted by nobody.

    A file with one certificate is that root, self-issued or not. Raises BadInput as
    ``certificates_in`` does, and unless one of several is self-issued.
    """
    expected = "one root's certificate, PEM"
    found = tuple(dict.fromkeys(certificates_in(place, expected)))
    roots = found if len(found) == 1 else tuple(c for c in found if c.issuer == c.subject)
    if len(roots) != 1:
        shown = f"({len(found)} certificates, {len(roots)} of them roots)"
        raise _wrong(str(place), expected)(shown)
    return roots[0], tuple(one for one in found if one is not roots[0])


def certificates_of(
    text: bytes, *, where: str, expected: str = "certificates, PEM"
) -> Certificates:
    """See ``certificates_in``; ``where`` names the text in errors."""
    wrong = _wrong(where, expected)
    if is_der(text):
        try:
            return (x509.load_der_x509_certificate(text),)
        except UNREADABLE:
            raise wrong("(DER, but no certificate)") from None
    found = blocks_of(text, wrong, whole=True)
    for block in found:
        if block.label in _OTHERS:
            raise wrong(_OTHERS[block.label])
    mine = [block.text for block in found if block.label in _LABELS]
    if not mine:
        raise wrong(f"({', '.join(sorted({block.label for block in found}))})")
    try:
        return tuple(x509.load_pem_x509_certificate(one) for one in mine)
    except UNREADABLE:
        raise wrong("(a certificate that cannot be read)") from None


def roots_in(place: Path) -> str:
    """The certificates of a file that says whom to trust, as PEM text. Raises BadInput as
    ``certificates_in`` does, before anybody is connected to.
    """
    return pem(*certificates_in(place, _ROOTS)).decode()


def roots_of(text: str, *, where: str = "the trusted certificates") -> str:
    """``text`` itself is PEM; what comes back has its certificates and nothing else."""
    return pem(*certificates_of(text.encode(), where=where, expected=_ROOTS)).decode()


def _issued_another(one: x509.Certificate, found: list[x509.Certificate]) -> bool:
    return any(c.issuer == one.subject for c in found if c is not one)


def _octets(place: Path) -> bytes:
    return read_bounded(place, LARGEST, expected="a readable PEM file")


def _wrong(where: str, expected: str) -> Wrong:
    return lambda found: BadInput(where=where, key="the file", value=found, expected=expected)
