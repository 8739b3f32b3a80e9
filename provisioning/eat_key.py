"""The Ed25519 key with which a station signs tokens, and the public halves that verifiers have."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from harness.errors import BadInput
from provisioning.private_files import private_directory, read_private, write_durably

NAME = "eat-key.pem"
_LARGEST = 16 << 10


def signing_key(path: Path) -> Ed25519PrivateKey:
    """The key in ``path`` (PEM, 0600), made on first use; ``<path>.pub`` holds its public half.

    Raises BadInput for a file that is none, or that others may read.
    """
    if not path.exists():
        private_directory(path.parent)
        key = Ed25519PrivateKey.generate()
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        write_durably(path.with_name(path.name + ".pub"), public, mode=0o644)
        write_durably(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return key
    try:
        found = load_pem_private_key(read_private(path), None)
    except (ValueError, TypeError) as problem:
        raise _bad(path, "an Ed25519 private key in PEM, without a passphrase") from problem
    if not isinstance(found, Ed25519PrivateKey):
        raise _bad(path, "an Ed25519 private key")
    return found


def signer_key(path: Path) -> Ed25519PublicKey:
    """The public key in ``path`` (PEM). Raises BadInput."""
    try:
        with path.open("rb") as file:
            found = load_pem_public_key(file.read(_LARGEST))
    except (OSError, ValueError) as problem:
        raise _bad(path, "an Ed25519 public key in PEM") from problem
    if not isinstance(found, Ed25519PublicKey):
        raise _bad(path, "an Ed25519 public key")
    return found


def _bad(path: Path, expected: str) -> BadInput:
    return BadInput(where=str(path), key="the key", value="(hidden)", expected=expected)
