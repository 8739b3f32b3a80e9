"""Makes signed Trusted Application files: sign, encrypt, sign again, make a subkey.

What comes out is what OP-TEE's own scripts/sign_encrypt.py would have made from the same input, but
for what is random: the salt of a PSS signature, the IV of an encryption.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import rsa

from harness.deadline import Deadline
from harness.errors import BadInput, IntegrityFailure, Misuse
from harness.secret import Secret
from provisioning.enclave_encryption import decrypted, encrypted
from provisioning.enclave_format import (
    AES_GCM,
    ATTRIBUTE,
    ENCRYPTED,
    EXPONENT,
    HASH_SIZE,
    IV_SIZE,
    LARGEST,
    MAGIC,
    MODULUS,
    MOST_NAME,
    SHDR,
    SUBKEY,
    TA,
    TAG_SIZE,
    Algorithm,
    Application,
    ImageType,
    Subkey,
    TaFile,
    take_apart,
)
from provisioning.enclave_signer import TaSigner, long_enough

MOST_U32 = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Sealing:
    """That a TA is to be encrypted, and under which key (32 bytes)."""

    key: Secret
    class_wide: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    """A file of subkeys that stands in front of a TA, and the name of what follows in the last
    one's name space; "" for a subkey whose name size is 0."""

    data: bytes
    name: str = ""


def signed_ta(
    elf: bytes,
    *,
    uuid: UUID,
    signer: TaSigner,
    version: int = 0,
    algorithm: Algorithm = Algorithm.PSS,
    sealing: Sealing | None = None,
    chain: Chain | None = None,
    where: str = "enclave",
    by: Deadline,
) -> bytes:
    """The file that a box loads. ``signer`` is the box's key, or the last subkey's of ``chain``.

    Raises BadInput for what is no ELF file, Misuse for a chain that does not lead to this TA.
    """
    if not elf.startswith(b"\x7fELF"):
        raise BadInput(where=where, key="the file", value=elf[:4], expected="an ELF file")
    if len(elf) > LARGEST - 4096:
        expected = f"at most {LARGEST - 4096} bytes"
        raise BadInput(where=where, key="size", value=len(elf), expected=expected)
    _u32("version", version, where)
    front = b"" if chain is None else _front(chain, uuid, signer.public_key)
    head, body, kind = TA.pack(uuid.bytes, version), elf, ImageType.PLAIN
    if sealing is not None:
        encryption, body = encrypted(elf, sealing.key, class_wide=sealing.class_wide)
        sizes = (IV_SIZE, TAG_SIZE)
        head += ENCRYPTED.pack(AES_GCM, int(sealing.class_wide), *sizes)
        head += encryption.iv + encryption.tag
        kind = ImageType.ENCRYPTED
    made = _signed(kind, len(body), head + elf, signer, algorithm, by)
    return front + made + head + body


def resigned_ta(
    data: bytes,
    *,
    signer: TaSigner,
    version: int | None = None,
    algorithm: Algorithm | None = None,
    key: Secret | None = None,
    where: str = "enclave",
    by: Deadline,
) -> bytes:
    """The same TA with a signature by another key; its subkeys, which are another's word, go.

    An encrypted TA stays encrypted, IV and all. ``key`` (its encryption key) is needed only where
    what is hashed changes: another version, algorithm or key size.
    """
    file = take_apart(data, size=len(data), bare=False, where=where)
    application = file.application
    if application is None or application.uuid is None or application.version is None:
        expected = "a TA, not subkeys alone"
        raise BadInput(where=where, key="type", value=int(ImageType.SUBKEY), expected=expected)
    old, body = application.signed, data[application.payload_at :]
    chosen = version if version is not None else application.version
    _u32("version", chosen, where)
    scheme = algorithm or old.algorithm
    length = (signer.public_key.key_size + 7) // 8
    if (chosen, scheme, length) == (application.version, old.algorithm, len(old.signature)):
        shdr, digest, head = old.shdr, old.digest, application.head
        if application.encryption is None or key is not None:
            _same(data, key, where)
    else:
        _, clear = opened_ta(data, key=key, where=where)
        _same(data, key, where)
        head = TA.pack(application.uuid.bytes, chosen) + application.head[TA.size :]
        shdr = SHDR.pack(MAGIC, int(old.type), old.size, int(scheme), HASH_SIZE, length)
        digest = hashlib.sha256(shdr + head + clear).digest()
    return shdr + digest + signer.sign(digest, scheme, by=by) + head + body


def _same(data: bytes, key: Secret | None, where: str) -> None:
    """Raises IntegrityFailure unless the contents are what was signed: a damaged TA must not get a
    good signature."""
    application, clear = opened_ta(data, key=key, where=where)
    signed = application.signed
    if hashlib.sha256(signed.shdr + application.head + clear).digest() != signed.digest:
        raise IntegrityFailure(f"{where}: its contents are not what was signed; not signed again")


def opened_ta(data: bytes, *, key: Secret | None, where: str) -> tuple[Application, bytes]:
    """A signed TA's own header, and its payload in clear.

    Raises BadInput, Misuse when it is encrypted and there is no key, IntegrityFailure.
    """
    application = take_apart(data, size=len(data), where=where).application
    if application is None:
        expected = "a TA, not subkeys alone"
        raise BadInput(where=where, key="type", value=int(ImageType.SUBKEY), expected=expected)
    body = data[application.payload_at :]
    if application.encryption is None:
        return application, body
    if key is None:
        raise Misuse(
            f"{where} is encrypted, and its contents are needed",
            hint="Name the file with the key that it is encrypted under.",
        )
    return application, decrypted(body, application.encryption, key, where=where)


def signed_subkey(
    key: rsa.RSAPublicKey,
    *,
    uuid: UUID,
    signer: TaSigner,
    name_size: int,
    max_depth: int = 0,
    version: int = 0,
    algorithm: Algorithm = Algorithm.PSS,
    chain: Chain | None = None,
    by: Deadline,
) -> bytes:
    """A file that hands the right to sign TAs below ``uuid`` to the holder of ``key``.

    ``name_size`` bytes are the longest name of one; 0 hands over this one UUID. Below the last
    subkey of ``chain``, ``max_depth`` must be less than its own.

    Raises BadInput and Misuse for one that no box would take: it is never made.
    """
    for field, value in (("depth", max_depth), ("version", version)):
        _u32(field, value, "the subkey")
    if not 0 <= name_size <= MOST_NAME:
        expected = f"0 to {MOST_NAME} bytes"
        raise BadInput(where="the subkey", key="name size", value=name_size, expected=expected)
    long_enough(key, "the subkey")
    front = b""
    if chain is not None:
        front = _front(chain, uuid, signer.public_key)
        parent = subkeys_of(chain).subkeys[-1]
        if max_depth >= parent.max_depth:
            raise Misuse(
                f"depth {max_depth} is not below {parent.max_depth}, that of subkey {parent.uuid}",
                hint="Give this one less, or make the parent anew with a greater --max-depth.",
            )
    numbers = key.public_numbers()
    n, e = _octets(numbers.n), _octets(numbers.e)
    at = SUBKEY.size + 2 * ATTRIBUTE.size
    body = SUBKEY.pack(uuid.bytes, name_size, version, max_depth, int(algorithm), 2)
    body += ATTRIBUTE.pack(MODULUS, at, len(n)) + ATTRIBUTE.pack(EXPONENT, at + len(n), len(e))
    body += n + e
    made = front + _signed(ImageType.SUBKEY, len(body), body, signer, algorithm, by) + body
    take_apart(made, size=len(made), where="the subkey")  # that there are not too many in front
    return made


def child_uuid(parent: UUID, name: str) -> UUID:
    """The UUID of ``name`` in a subkey's name space: version 5, but of SHA-512."""
    digest = hashlib.sha512(parent.bytes + name.encode()).digest()
    return UUID(bytes=digest[:16], version=5)


def next_uuid(subkey: Subkey, name: str) -> UUID:
    """The UUID that follows a subkey: its own when it has no name space. Raises Misuse."""
    if subkey.name_size == 0:
        if name:
            raise Misuse(f"subkey {subkey.uuid} has no names below it, so {name!r} is none")
        return subkey.uuid
    if not name or len(name.encode()) > subkey.name_size:
        raise Misuse(f"a name of 1 to {subkey.name_size} bytes is needed below {subkey.uuid}")
    return child_uuid(subkey.uuid, name)


def subkeys_of(chain: Chain) -> TaFile:
    """The chain's file. Raises BadInput unless it is subkeys alone."""
    found = take_apart(chain.data, size=len(chain.data), where="the subkey file")
    if found.application is not None:
        expected = "subkeys alone"
        raise BadInput(where="the subkey file", key="its end", value="a TA", expected=expected)
    return found


def _front(chain: Chain, uuid: UUID, key: rsa.RSAPublicKey) -> bytes:
    last = subkeys_of(chain).subkeys[-1]
    wanted = next_uuid(last, chain.name)
    if wanted != uuid:
        raise Misuse(f"below subkey {last.uuid} the name {chain.name!r} is {wanted}, not {uuid}")
    if last.public_key != key:
        raise Misuse(f"the signing key is not that of subkey {last.uuid}")
    return chain.data + chain.name.encode().ljust(last.name_size, b"\0")


def _signed(
    kind: ImageType, size: int, covered: bytes, signer: TaSigner, algorithm: Algorithm, by: Deadline
) -> bytes:
    """shdr, hash and signature over ``covered``."""
    length = (signer.public_key.key_size + 7) // 8
    shdr = SHDR.pack(MAGIC, int(kind), size, int(algorithm), HASH_SIZE, length)
    digest = hashlib.sha256(shdr + covered).digest()
    return shdr + digest + signer.sign(digest, algorithm, by=by)


def _octets(number: int) -> bytes:
    """As sign_encrypt.py has it: with a zero octet in front when the first bit is set."""
    return number.to_bytes((number.bit_length() + 8) // 8, "big")


def _u32(field: str, value: int, where: str) -> None:
    if not 0 <= value <= MOST_U32:
        raise BadInput(where=where, key=field, value=value, expected=f"0 to {MOST_U32}")
