"""Keys in files of a person's, read in one way: PEM (``pem_text`` says how tolerant) or DER.

No error quotes a file with a key in it.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from harness.errors import BadInput
from harness.shown import HIDDEN
from provisioning.pem_text import Wrong, blocks_of, is_der, only
from provisioning.private_files import read_bounded, read_private

_LARGEST = 65536
_PRIVATE = ("PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY")
_PUBLIC = ("PUBLIC KEY", "RSA PUBLIC KEY")
_UNUSABLE = (ValueError, TypeError, UnsupportedAlgorithm)


def private_key_in(place: Path, expected: str) -> PrivateKeyTypes:
    """The one private key of a file that only its owner may read, without a password.

    Raises BadInput, saying what was found by its PEM label only.
    """
    wrong, octets = _wrong(place, expected), read_private(place)
    try:
        if is_der(octets):
            return load_der_private_key(octets, password=None)
        return load_pem_private_key(
            only(blocks_of(octets, wrong), _PRIVATE, wrong).text, password=None
        )
    except _UNUSABLE:
        raise wrong(HIDDEN) from None


def public_key_in(place: Path, expected: str) -> PublicKeyTypes:
    """The public key of a file: as such, or its private key's. Raises BadInput as above."""
    wrong, octets = _wrong(place, expected), read_bounded(place, _LARGEST, expected=expected)
    try:
        if is_der(octets):
            return load_der_public_key(octets)
        found = blocks_of(octets, wrong)
        if not any(block.label in _PUBLIC for block in found) and any(
            block.label in _PRIVATE for block in found
        ):
            return private_key_in(place, expected).public_key()
        return load_pem_public_key(only(found, _PUBLIC, wrong).text)
    except _UNUSABLE:
        raise wrong(HIDDEN) from None


def private_pem_in(place: Path) -> bytes:
    """The one private key's PEM alone; one with a password is left as it is. Raises BadInput.

    For OpenSSL, which knows neither marks nor DER where it expects PEM.
    """
    wrong = _wrong(place, "a private key, PEM")
    octets = read_bounded(place, _LARGEST, expected="a private key, PEM")
    if not is_der(octets):
        return only(blocks_of(octets, wrong), _PRIVATE, wrong).text
    try:
        found = load_der_private_key(octets, password=None)
    except _UNUSABLE:
        raise wrong(HIDDEN) from None
    return found.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _wrong(place: Path, expected: str) -> Wrong:
    return lambda found: BadInput(where=str(place), key="the file", value=found, expected=expected)
