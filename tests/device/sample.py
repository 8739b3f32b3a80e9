"""The sample enclave for tests: built for the box under test, and spoilt in the ways that count."""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from harness.deadline import Deadline
from harness.errors import Misuse
from harness.target import Target
from provisioning.enclave_build import SAMPLE as SOURCE
from provisioning.enclave_build import build_enclave

SHDR = 20
DIGEST = slice(SHDR, SHDR + 32)
SIGNATURE_AT = SHDR + 32


def build_sample(target: Target) -> bytes:
    """The signed sample enclave for this box; comes out of the cache but for the first time."""
    devkit, key = target.firmware.devkit, target.firmware.ta_signing_key
    if devkit is None or key is None:
        raise Misuse(f"{target.name} has no TA dev kit: the test needs(Capability.TA_DEVKIT)")
    return build_enclave(SOURCE, devkit=devkit, key=key, by=Deadline.after(60))


def flipped(data: bytes, at: int) -> bytes:
    """``data`` with one bit changed, in the byte at ``at``."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def signature_size(data: bytes) -> int:
    (size,) = struct.unpack_from("<H", data, 18)
    return int(size)


def code_at(data: bytes) -> int:
    """A place in the enclave's code: past the ELF headers, which the first page holds."""
    return SIGNATURE_AT + signature_size(data) + SHDR + 4096 + 1024


def signed_by_another_key(data: bytes) -> bytes:
    """The same enclave with a good signature of somebody whom the box does not know."""
    size = signature_size(data)
    key = rsa.generate_private_key(public_exponent=65537, key_size=size * 8)
    padding = PSS(mgf=MGF1(SHA256()), salt_length=32)
    signature = key.sign(data[DIGEST], padding, Prehashed(SHA256()))
    return data[:SIGNATURE_AT] + signature + data[SIGNATURE_AT + size :]
