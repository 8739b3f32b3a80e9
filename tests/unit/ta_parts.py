"""Keys and a little ELF file for tests of the TA tools, and their command line in this process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from harness.deadline import Deadline
from provisioning.enclave_format import Algorithm
from provisioning.enclave_signer import padding
from tests.typed import Said, trustbox

ENCLAVE = UUID("e4a0f3d6-7c1b-4c52-9b8e-5d2f6a7c8b90")
ELF = b"\x7fELF" + bytes(range(256)) * 20


@cache
def private_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The same key for the same name, within a process: RSA keys are slow to make."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def key_file(directory: Path, name: str, bits: int = 2048) -> Path:
    """The key's PEM file, 0600."""
    path = directory / f"{name}.pem"
    path.touch(mode=0o600)
    path.write_bytes(
        private_key(name, bits).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return path


def public_file(directory: Path, name: str, bits: int = 2048) -> Path:
    path = directory / f"{name}.pub.pem"
    public = private_key(name, bits).public_key()
    path.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def secret_file(directory: Path, key: bytes, name: str = "enc.key") -> Path:
    path = directory / name
    path.touch(mode=0o600)
    path.write_text(key.hex() + "\n")
    return path


@dataclass(frozen=True)
class Signs:
    """A key in memory."""

    name: str
    bits: int = 2048

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        return private_key(self.name, self.bits).public_key()

    def sign(self, digest: bytes, algorithm: Algorithm, *, by: Deadline) -> bytes:
        key = private_key(self.name, self.bits)
        return key.sign(digest, padding(algorithm), Prehashed(SHA256()))


def ta(*words: str | Path, environment: Mapping[str, str] | None = None) -> Said:
    """``trustbox ta ...``"""
    return trustbox("ta", *words, environment=environment)
