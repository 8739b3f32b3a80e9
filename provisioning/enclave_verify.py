"""Checks a signed Trusted Application file as OP-TEE would, without a box: pure.

Every check is named and is *pass*, *fail* or *unknown* (nobody looked): signature, subkeys, uuid,
contents. What it cannot do is tell whether the box has this very key built in, or has seen a newer
version already.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness.errors import IntegrityFailure
from harness.secret import Secret
from provisioning.enclave_encryption import decrypted
from provisioning.enclave_format import Signed, Subkey, TaFile, take_apart
from provisioning.enclave_make import child_uuid
from provisioning.enclave_signer import has_other_salt, signature_is_good

PASS, FAIL, UNKNOWN = "pass", "fail", "unknown"


@dataclass(frozen=True, slots=True)
class Checked:
    """One check: its name, its outcome, and one sentence."""

    check: str
    outcome: str
    why: str


def checks(
    data: bytes,
    key: rsa.RSAPublicKey,
    *,
    encryption_key: Secret | None = None,
    uuid: UUID | None = None,
    where: str = "enclave",
) -> tuple[Checked, ...]:
    """Every check of a whole file. ``uuid``: the one under which it is to be loaded.

    Raises BadInput for what cannot be taken apart.
    """
    file = take_apart(data, size=len(data), where=where)
    found = [*_chain(file, key)]
    application = file.application
    if application is None:
        return tuple(found)
    found.append(_uuid(application.uuid, uuid))
    signed, body = application.signed, data[application.payload_at :]
    if application.encryption is not None:
        if encryption_key is None:
            return (
                *found,
                Checked("contents", UNKNOWN, "they are encrypted, and no key was given"),
            )
        try:
            body = decrypted(body, application.encryption, encryption_key, where=where)
        except IntegrityFailure as failure:
            return (*found, Checked("contents", FAIL, failure.message))
    return (*found, _hash("contents", signed, application.head + body))


def signer_of(file: TaFile, keys: Mapping[str, rsa.RSAPublicKey]) -> str | None:
    """The name of the key whose signature the first header bears, and whose the rest of the chain
    leads back to; None for somebody else's. Contents are not looked at."""
    for name, key in keys.items():
        if all(one.outcome == PASS for one in _chain(file, key)):
            return name
    return None


def fingerprint(key: rsa.RSAPublicKey) -> str:
    """SHA-256 of its SubjectPublicKeyInfo, hexadecimal."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def _chain(file: TaFile, key: rsa.RSAPublicKey) -> Iterator[Checked]:
    """The signatures from ``key`` down to the TA's header, and each subkey's own contents."""
    before: Subkey | None = None
    for subkey in file.subkeys:
        name = f"subkey {subkey.uuid}"
        yield _signature(name, subkey.signed, key)
        yield _hash(name, subkey.signed, subkey.body)
        if before is not None:
            yield _below(name, before, subkey.uuid)
            deeper = subkey.max_depth < before.max_depth
            why = f"depth {subkey.max_depth} below {before.max_depth}"
            yield Checked(name, PASS if deeper else FAIL, why)
        before, key = subkey, subkey.public_key
    if file.application is not None:
        yield _signature("signature", file.application.signed, key)
        if before is not None and file.application.uuid is not None:
            yield _below("name", before, file.application.uuid)


def _signature(name: str, signed: Signed, key: rsa.RSAPublicKey) -> Checked:
    good = signature_is_good(key, signed.signature, signed.digest, signed.algorithm)
    why = f"{signed.algorithm.title} by key {fingerprint(key)[:16]}"
    if not good and has_other_salt(key, signed.signature, signed.digest, signed.algorithm):
        return Checked(name, FAIL, f"{why}, but with another salt length than 32 octets")
    return Checked(name, PASS if good else FAIL, why if good else f"no {why}")


def _hash(name: str, signed: Signed, covered: bytes) -> Checked:
    found = hashlib.sha256(signed.shdr + covered).digest()
    good = found == signed.digest
    why = "as the signed hash says" if good else f"their hash is {found.hex()[:16]}..., not so"
    return Checked(name, PASS if good else FAIL, why)


def _below(name: str, before: Subkey, uuid: UUID) -> Checked:
    text = before.name.rstrip(b"\0").decode("utf-8", errors="replace")
    wanted = before.uuid if before.name_size == 0 else child_uuid(before.uuid, text)
    why = f"{text!r} below {before.uuid} is {wanted}"
    return Checked(name, PASS if wanted == uuid else FAIL, why)


def _uuid(has: UUID | None, wanted: UUID | None) -> Checked:
    if has is None:
        return Checked("uuid", FAIL, "type 0 has none in what is signed: it loads under any name")
    if wanted is None:
        return Checked("uuid", PASS, str(has))
    return Checked("uuid", PASS if has == wanted else FAIL, f"{has}, wanted {wanted}")
