"""Which signed Trusted Application files (``<uuid>.ta``) may be installed, and what they are.

The format is in ``enclave_format``. The signature is not checked here: the public key is inside the
TEE, and the TEE is what must refuse (``enclave_verify`` does it for those who have the key).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from harness.errors import BadInput
from provisioning.enclave_format import HEADERS as HEADERS
from provisioning.enclave_format import Application, ImageType, TaFile, take_apart


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
    image, application = _installable(
        take_apart(data, size=len(data), bare=False, where=where), where
    )
    if image.kind is Kind.PLAIN:
        covered = application.signed.shdr + application.head
        computed = hashlib.sha256(covered + data[application.payload_at :]).digest()
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
    return _installable(take_apart(head, size=size, bare=False, where=where), where)[0]


def payload(data: bytes, *, where: str = "enclave") -> bytes:
    """The ELF file inside a plain TA. Raises BadInput, for an encrypted one too."""
    image = parse(data, where=where)
    if image.kind is not Kind.PLAIN:
        raise BadInput(where=where, key="type", value=int(image.kind), expected="1, a plain TA")
    return data[len(data) - _size(data, where) :]


def _size(data: bytes, where: str) -> int:
    application = take_apart(data, size=len(data), where=where).application
    return 0 if application is None else application.signed.size


def _installable(file: TaFile, where: str) -> tuple[EnclaveImage, Application]:
    found = file.application
    if found is None:
        expected = "a TA behind its subkeys"
        raise BadInput(where=where, key="type", value=int(ImageType.SUBKEY), expected=expected)
    assert found.uuid is not None  # noqa: S101 - only type 0 has none, which was refused
    assert found.version is not None  # noqa: S101
    image = EnclaveImage(
        Kind(found.signed.type),
        found.uuid,
        found.version,
        found.signed.digest,
        int(found.signed.algorithm),
        file.size,
        len(file.subkeys),
    )
    return image, found
