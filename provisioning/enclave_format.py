"""The format of signed Trusted Application files, taken apart strictly; nothing is believed here.

::

    shdr       magic "HSTO" | type | size | algorithm | hash size | signature size    20 bytes
    hash       SHA-256 over shdr, the header below and the (plain) payload            hash size
    signature  over the hash, by the key of whoever stands in front            signature size
    ta header  UUID (RFC 4122 octets) | version                       20 bytes, not in type 0
    encrypted  algorithm | flags | IV size | tag size | IV | tag                  type 2 only
    payload    an ELF file, in clear or encrypted                                        size

Type 3, a subkey, stands in front of another signed header, whose signature is the subkey's::

    shdr | hash | signature | UUID | name size | version | max depth | algorithm | attributes: n, e
    name       of the next one, name size bytes, zero-padded; not where the file ends with a subkey

All numbers are little-endian. Sources: OP-TEE core/include/signed_hdr.h, scripts/sign_encrypt.py.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey as RSAPublicKey

from harness.errors import BadInput

MAGIC = 0x4F545348
_ELF = b"\x7fELF"
LARGEST = 16 << 20
"""Bytes; a TA must fit into the TEE's memory many times over before this."""
DEEPEST = 8
"""Subkeys that may stand in front of a TA."""
HEADERS = 24 << 10
"""Bytes: the headers of any TA this module accepts fit into the first so many, and those of DEEPEST
subkeys of MOST_BITS with names of MOST_NAME do."""
LEAST_BITS, MOST_BITS = 2048, 4096
"""RSA keys that OP-TEE takes: shorter ones are refused from 4.10 on (core/crypto/signed_hdr.c)."""
MOST_NAME = 1024
"""Bytes of a name below a subkey."""
HASH_SIZE = 32
AES_GCM = 0x40000810
IV_SIZE, TAG_SIZE = 12, 16
MODULUS, EXPONENT = 0xD0000130, 0xD0000230
"""GlobalPlatform attribute ids of an RSA key's numbers."""

SHDR = struct.Struct("<IIIIHH")
TA = struct.Struct("<16sI")
ENCRYPTED = struct.Struct("<IIHH")
SUBKEY = struct.Struct("<16sIIIII")
ATTRIBUTE = struct.Struct("<III")


class ImageType(IntEnum):
    """What stands in shdr. BARE has no UUID and no version in what is signed: no tool makes it."""

    BARE = 0
    PLAIN = 1
    ENCRYPTED = 2
    SUBKEY = 3


class Algorithm(IntEnum):
    """How a header is signed; RSA with SHA-256 in both (GlobalPlatform's algorithm ids)."""

    PSS = 0x70414930
    PKCS1 = 0x70004830

    @property
    def title(self) -> str:
        return "RSA-PSS SHA-256" if self is Algorithm.PSS else "RSA PKCS#1 v1.5 SHA-256"


_ALGORITHMS = tuple(int(algorithm) for algorithm in Algorithm)


@dataclass(frozen=True, slots=True)
class Signed:
    """What every header begins with. ``shdr`` are its 20 bytes; ``size`` is the payload's."""

    type: ImageType
    size: int
    algorithm: Algorithm
    digest: bytes
    signature: bytes
    shdr: bytes


@dataclass(frozen=True, slots=True)
class Subkey:
    """A key that signs what follows, for UUIDs in its own name space.

    ``body`` is what its hash covers besides shdr. ``name``: of the next one, as it stands there;
    empty where name_size is 0 or the file ends here.
    """

    signed: Signed
    uuid: UUID
    name_size: int
    version: int
    max_depth: int
    algorithm: Algorithm
    public_key: rsa.RSAPublicKey
    body: bytes
    name: bytes


@dataclass(frozen=True, slots=True)
class Encryption:
    """AES-GCM. ``class_wide``: by a key that many boxes share, else by the box's own."""

    class_wide: bool
    iv: bytes
    tag: bytes


@dataclass(frozen=True, slots=True)
class Application:
    """The TA's own header. ``head`` is what its hash covers between shdr and payload."""

    signed: Signed
    uuid: UUID | None
    version: int | None
    encryption: Encryption | None
    head: bytes
    payload_at: int


@dataclass(frozen=True, slots=True)
class TaFile:
    """A whole file's headers. ``application`` None: a file of subkeys alone, as one is handed to
    those who sign with it."""

    subkeys: tuple[Subkey, ...]
    application: Application | None
    size: int


def take_apart(head: bytes, *, size: int, bare: bool = True, where: str = "enclave") -> TaFile:
    """The headers in the first HEADERS bytes (or all) of a file of ``size`` bytes.

    Raises BadInput that names the field that is wrong, size included: the payload is exactly what
    the header says. Not ``bare``: type 0 is refused. Hashes and signatures are not looked at.
    """
    if not 0 < size <= LARGEST:
        raise BadInput(where=where, key="size", value=size, expected=f"1 to {LARGEST} bytes")
    reader = Reader(head, where)
    subkeys: list[Subkey] = []
    while not (subkeys and reader.at == size):
        signed = _signed(reader, bare)
        if signed.type is not ImageType.SUBKEY:
            return TaFile(tuple(subkeys), _application(reader, signed, size), size)
        count = len(subkeys) + 1
        reader.want("number of subkeys", count, count <= DEEPEST, f"at most {DEEPEST}")
        subkeys.append(_subkey(reader, signed, size))
        fits = reader.at <= HEADERS
        reader.want("subkeys' size", reader.at, fits, f"at most {HEADERS} bytes in all")
    return TaFile(tuple(subkeys), None, size)


def _signed(reader: Reader, bare: bool) -> Signed:
    at = reader.at
    magic, kind, img_size, algorithm, hash_size, sig_size = reader.unpack(SHDR, "shdr")
    if at == 0 and reader.data.startswith(_ELF):
        unsigned = BadInput(
            where=reader.where, key="the file", value="(an ELF file)", expected="a signed TA"
        )
        unsigned.hint = "It is not signed yet: trustbox ta sign FILE --uuid UUID --key KEY -o OUT"
        raise unsigned
    reader.want("magic", magic, magic == MAGIC, f'{MAGIC:#x} ("HSTO")')
    expected = ("0 (bare), " if bare else "") + "1 (plain), 2 (encrypted) or 3 (subkey)"
    reader.want("type", kind, kind in tuple(ImageType)[0 if bare else 1 :], expected)
    reader.want("algorithm", algorithm, algorithm in _ALGORITHMS, "RSA with SHA-256")
    reader.want("hash size", hash_size, hash_size == HASH_SIZE, "32")
    reader.want("signature size", sig_size, 256 <= sig_size <= 512, "256 to 512")
    reader.want("image size", img_size, 0 < img_size <= LARGEST, f"1 to {LARGEST}")
    shdr = reader.data[at : reader.at]
    digest = reader.take(hash_size, "hash")
    signature = reader.take(sig_size, "signature")
    return Signed(ImageType(kind), img_size, Algorithm(algorithm), digest, signature, shdr)


def _application(reader: Reader, signed: Signed, size: int) -> Application:
    at, uuid, version, encryption = reader.at, None, None, None
    if signed.type is not ImageType.BARE:
        octets, version = reader.unpack(TA, "ta header")
        uuid = UUID(bytes=octets)
    if signed.type is ImageType.ENCRYPTED:
        algo, flags, iv_size, tag_size = reader.unpack(ENCRYPTED, "encryption header")
        reader.want("encryption algorithm", algo, algo == AES_GCM, f"{AES_GCM:#x} (AES-GCM)")
        reader.want("encryption flags", flags, flags in (0, 1), "0 (device) or 1 (class)")
        reader.want("IV size", iv_size, iv_size == IV_SIZE, str(IV_SIZE))
        reader.want("tag size", tag_size, tag_size == TAG_SIZE, str(TAG_SIZE))
        iv = reader.take(iv_size, "IV")
        encryption = Encryption(flags == 1, iv, reader.take(tag_size, "tag"))
    head, rest = reader.data[at : reader.at], size - reader.at
    apart = f"{abs(rest - signed.size)} bytes {'more' if rest > signed.size else 'less'}"
    right = f"{rest}, what follows the headers: {apart} than the header says"
    reader.want("image size", signed.size, signed.size == rest, right)
    return Application(signed, uuid, version, encryption, head, reader.at)


def _subkey(reader: Reader, signed: Signed, size: int) -> Subkey:
    at, img_size = reader.at, signed.size
    right = SUBKEY.size <= img_size <= HEADERS
    reader.want("subkey size", img_size, right, "a public key's size")
    body = reader.take(img_size, "subkey")
    octets, name_size, version, max_depth, algorithm, count = SUBKEY.unpack_from(body)
    right = name_size <= MOST_NAME
    reader.want("subkey name size", name_size, right, f"at most {MOST_NAME}")
    reader.want("subkey algorithm", algorithm, algorithm in _ALGORITHMS, "RSA with SHA-256")
    reader.want("number of subkey attributes", count, count == 2, "2, modulus and exponent")
    numbers = {}
    for index in range(count):
        place = SUBKEY.size + index * ATTRIBUTE.size
        reader.want("subkey attribute", place, place + ATTRIBUTE.size <= img_size, "a whole one")
        kind, begin, length = ATTRIBUTE.unpack_from(body, place)
        reader.want("subkey attribute", hex(kind), kind in (MODULUS, EXPONENT), "modulus, exponent")
        inside = 0 < length <= 1024 and SUBKEY.size < begin <= img_size - length
        reader.want("subkey attribute's place", begin, inside, "inside of the subkey")
        numbers[kind] = int.from_bytes(body[begin : begin + length], "big")
    reader.want("subkey attributes", len(numbers), len(numbers) == 2, "modulus and exponent")
    bits = numbers[MODULUS].bit_length()
    right = LEAST_BITS <= bits <= MOST_BITS
    reader.want("subkey modulus", f"{bits} bits", right, f"{LEAST_BITS} to {MOST_BITS} bits")
    try:
        key = rsa.RSAPublicNumbers(numbers[EXPONENT], numbers[MODULUS]).public_key()
    except ValueError:
        expected = "an RSA public key"
        raise BadInput(
            where=reader.where, key="subkey's key", value=hex(at), expected=expected
        ) from None
    name = b"" if reader.at == size else reader.take(name_size, "subkey name")
    named = name.rstrip(b"\0")
    reader.want("subkey name", named, b"\0" not in named, "zeros at its end alone")
    chosen = Algorithm(algorithm)
    uuid = UUID(bytes=octets)
    return Subkey(signed, uuid, name_size, version, max_depth, chosen, key, body, name)


class Reader:
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
