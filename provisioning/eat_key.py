"""The Ed25519 key with which a station signs tokens, and the public halves that verifiers have."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from harness.deadline import Deadline
from harness.errors import BadInput
from provisioning.key_files import private_key_in, public_key_in
from provisioning.locks import locked
from provisioning.private_files import (
    private_directory,
    read_bounded,
    write_durably,
)

NAME = "eat-key.pem"
_LARGEST = 16 << 10
_LOCK_SECONDS = 30.0


def signing_key(path: Path) -> Ed25519PrivateKey:
    """The key in ``path`` (PEM, 0600), made on first use, once, whoever comes at the same time;
    ``<path>.pub`` holds its public half, always that of the key that is there.

    Raises BadInput for a file that is none, or that others may read, DeadlineExpired while somebody
    else makes it, Misuse and DiskFailed.
    """
    public = path.with_name(path.name + ".pub")
    if path.exists() and public.exists():
        key = _read(path)
        if _public_of(public) == _text(key):
            return key
    private_directory(path.parent)
    lock = path.with_name(f".{path.name}.lock")
    waiting = f"another process that makes {path}"
    with locked(lock, waiting, by=Deadline.after(_LOCK_SECONDS)):
        if not path.exists():
            made = Ed25519PrivateKey.generate()
            text = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            write_durably(path, text)
        key = _read(path)
        if _public_of(public) != _text(key):
            write_durably(public, _text(key), mode=0o644)
        return key


def _text(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _public_of(place: Path) -> bytes | None:
    """None where there is none: it is written of the key then."""
    return read_bounded(place, _LARGEST) if place.exists() else None


def _read(path: Path) -> Ed25519PrivateKey:
    found = private_key_in(path, "an Ed25519 private key in PEM, without a passphrase")
    if not isinstance(found, Ed25519PrivateKey):
        raise _bad(path, "an Ed25519 private key")
    return found


def signer_key(path: Path) -> Ed25519PublicKey:
    """The public key in ``path`` (PEM). Raises BadInput."""
    found = public_key_in(path, "an Ed25519 public key in PEM")
    if not isinstance(found, Ed25519PublicKey):
        raise _bad(path, "an Ed25519 public key")
    return found


def _bad(path: Path, expected: str) -> BadInput:
    return BadInput(where=str(path), key="the key", value="(hidden)", expected=expected)
