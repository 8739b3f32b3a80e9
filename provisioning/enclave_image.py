"""The format of a signed Trusted Application file (``<uuid>.ta``), read strictly.

::

    shdr       magic "HSTO" | type | size | algorithm | hash size | signature size    20 bytes
    hash       SHA-256 over shdr, the header below and the (plain) payload            hash size
    signature  by the key built into OP-TEE, over the hash                       signature size
    ta header  UUID (RFC 4122 octets) | version                                       20 bytes
    encrypted  algorithm | flags | IV size | tag size | IV | tag                    type 2 only
    payload    an ELF file, in clear or encrypted                                          size

All numbers are little-endian. Type 3 (a subkey) comes in front of another signed header. Source:
OP-TEE core/include/signed_hdr.h and scripts/sign_encrypt.py. The signature is not checked here: the
public key is inside the TEE, and the TEE is what must refuse.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any
from uuid import UUID

from harness.errors import BadInput

MAGIC = 0x4F545348
LARGEST = 16 << 20
"""Bytes; a TA must fit into the TEE's memory many times over before this."""
DEEPEST = 8
"""Subkeys that may stand in front of a TA."""
HEADERS = 16 << 10
"""Bytes: the headers of any TA this module accepts fit into the first so many."""

_SHDR = struct.Struct("<IIIIHH")
_TA = struct.Struct("<16sI")
_ENCRYPTED = struct.Struct("<IIHH")
_SUBKEY = struct.Struct("<16sIIIII")
_ALGORITHMS = {0x70414930: "RSA-PSS SHA-256", 0x70004830: "RSA PKCS#1 v1.5 SHA-256"}
_AES_GCM = 0x40000810


class Kind(IntEnum):
    """Image types that may be installed. Type 0 is not among them: it carries no UUID, so a signed
    one would load under any name (device-facts 3.3)."""

    PLAIN = 1
    ENCRYPTED = 2


@dataclass(frozen=True, slots=True)
class EnclaveImage:
    """What a signed TA file says about itself. ``digest`` is its header's hash: it names this TA
    exactly, and OP-TEE compares the contents with it when it loads the file."""

    kind: Kind
    uuid: UUID
    version: int
    digest: bytes
    algorithm: int
    size: int
    subkeys: int


def parse(data: bytes, *, where: str = "enclave") -> EnclaveImage:
    """Read a whole file. Raises BadInput that names the field that is wrong.

    The hash of a plain TA is recomputed, so a damaged body is found here; that of an encrypted one
    covers the plaintext, so only the TEE can tell.
    """
    image, start, covered = _headers(data, len(data), where)
    if image.kind is Kind.PLAIN:
        computed = hashlib.sha256(covered + data[start:]).digest()
        if computed != image.digest:
            raise BadInput(
                where=where,
                key="hash",
                value=image.digest.hex(),
                expected=f"{computed.hex()}, the hash of what the file contains",
            )
    return image


def parse_headers(head: bytes, *, size: int, where: str = "enclave") -> EnclaveImage:
    """Read the first HEADERS bytes (or all) of a file of ``size`` bytes: its body is not looked at.

    Raises BadInput that names the field that is wrong.
    """
    return _headers(head, size, where)[0]


def payload(data: bytes, *, where: str = "enclave") -> bytes:
    """The ELF file inside a plain TA. Raises BadInput, for an encrypted one too."""
    image = parse(data, where=where)
    if image.kind is not Kind.PLAIN:
        raise BadInput(where=where, key="type", value=int(image.kind), expected="1, a plain TA")
    return data[_headers(data, len(data), where)[1] :]


def _headers(head: bytes, size: int, where: str) -> tuple[EnclaveImage, int, bytes]:
    """The image, where its payload starts, and the header bytes that its hash covers."""
    if not 0 < size <= LARGEST:
        raise BadInput(where=where, key="size", value=size, expected=f"1 to {LARGEST} bytes")
    reader = _Reader(head, where)
    subkeys = 0
    while True:
        at = reader.at
        magic, kind, img_size, algorithm, hash_size, sig_size = reader.unpack(_SHDR, "shdr")
        reader.want("magic", magic, magic == MAGIC, f'{MAGIC:#x} ("HSTO")')
        reader.want("type", kind, kind in (1, 2, 3), "1 (plain), 2 (encrypted) or 3 (subkey)")
        reader.want("algorithm", algorithm, algorithm in _ALGORITHMS, "RSA with SHA-256")
        reader.want("hash size", hash_size, hash_size == 32, "32")
        reader.want("signature size", sig_size, 256 <= sig_size <= 512, "256 to 512")
        reader.want("image size", img_size, 0 < img_size <= LARGEST, f"1 to {LARGEST}")
        shdr = head[at : at + _SHDR.size]
        digest = reader.take(hash_size, "hash")
        reader.take(sig_size, "signature")
        if kind != 3:
            break
        subkeys += 1
        reader.want("number of subkeys", subkeys, subkeys <= DEEPEST, f"at most {DEEPEST}")
        _skip_subkey(reader, img_size)
    covered = shdr
    at = reader.at
    uuid, version = reader.unpack(_TA, "ta header")
    if kind == Kind.ENCRYPTED:
        algo, flags, iv_size, tag_size = reader.unpack(_ENCRYPTED, "encryption header")
        reader.want("encryption algorithm", algo, algo == _AES_GCM, f"{_AES_GCM:#x} (AES-GCM)")
        reader.want("encryption flags", flags, flags in (0, 1), "0 (device) or 1 (class)")
        reader.want("IV size", iv_size, iv_size == 12, "12")
        reader.want("tag size", tag_size, tag_size == 16, "16")
        reader.take(iv_size + tag_size, "IV and tag")
    covered += head[at : reader.at]
    rest = size - reader.at
    reader.want("image size", img_size, img_size == rest, f"{rest}, what follows the headers")
    image = EnclaveImage(Kind(kind), UUID(bytes=uuid), version, digest, algorithm, size, subkeys)
    return image, reader.at, covered


def _skip_subkey(reader: _Reader, img_size: int) -> None:
    at = reader.at
    _, name_size, _, _, _, _ = reader.unpack(_SUBKEY, "subkey header")
    reader.want("subkey size", img_size, _SUBKEY.size <= img_size <= HEADERS, "a public key's size")
    reader.want("subkey name size", name_size, name_size <= 1024, "at most 1024")
    reader.take(img_size - (reader.at - at) + name_size, "subkey")


class _Reader:
    """Walks over bytes that somebody else wrote; never past their end."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where, self.at = data, where, 0

    def take(self, count: int, field: str) -> bytes:
        left = len(self.data) - self.at
        self.want(field, f"{left} bytes", count <= left, f"{count} bytes: the file is truncated")
        self.at += count
        return self.data[self.at - count : self.at]

    def unpack(self, form: struct.Struct, field: str) -> tuple[Any, ...]:
        return form.unpack(self.take(form.size, field))

    def want(self, field: str, value: object, right: bool, expected: str) -> None:
        if not right:
            raise BadInput(where=self.where, key=field, value=value, expected=expected)
