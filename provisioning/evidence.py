"""Evidence: what a box's attestation PTA signed, with everything needed to judge it elsewhere.

Evidence proves nothing by itself: ``provisioning.verdict`` judges it against a policy. Everything
in it came from a box, so making one checks its form, and reading it back checks it again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness.errors import BadInput
from harness.target import EvidenceLevel

FORMAT = "trustbox-evidence-1"
RSA_PSS_SHA256 = 0x70414930
"""TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256, the only algorithm that the attestation PTA has."""
NONCE_SIZES = range(16, 65)
LARGEST_JSON = 64 << 10
"""Characters; evidence with an enclave in it takes about 5000."""


@dataclass(frozen=True, slots=True)
class AttestationKey:
    """The box's RSA attestation key, public half. The PTA makes it on first use."""

    modulus: int
    exponent: int

    def __post_init__(self) -> None:
        bits = self.modulus.bit_length()
        _want("key.modulus", f"{bits} bits", 2048 <= bits <= 4096, "2048 to 4096 bits")
        _want("key.modulus", "an even number", bool(self.modulus & 1), "an odd number")
        _want("key.exponent", self.exponent, self.exponent == 65537, "65537, as the PTA makes it")

    @property
    def size(self) -> int:
        """Bytes of the modulus, hence of each signature."""
        return (self.modulus.bit_length() + 7) // 8

    def public_key(self) -> RSAPublicKey:
        return RSAPublicNumbers(self.exponent, self.modulus).public_key()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the SubjectPublicKeyInfo (DER), in hex: what is pinned and compared by eye."""
        spki = self.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return hashlib.sha256(spki).hexdigest()


@dataclass(frozen=True, slots=True)
class Signed:
    """One answer of the PTA: a SHA-256 and the signature over SHA-256(nonce || digest).

    The signature does not say *what* was hashed (TEE, enclave or header): only a golden value that
    nothing else can have does.
    """

    digest: bytes
    signature: bytes

    def __post_init__(self) -> None:
        _want("digest", f"{len(self.digest)} bytes", len(self.digest) == 32, "32 bytes")
        size = len(self.signature)
        _want("signature", f"{size} bytes", 256 <= size <= 512, "256 to 512 bytes")


@dataclass(frozen=True, slots=True)
class EnclaveEvidence:
    """About one enclave. ``memory`` is its measurement of itself, ``identity`` the digest in the
    header of the file that is installed for it: which TA that is, not that its body is intact."""

    uuid: UUID
    memory: Signed | None
    identity: Signed | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one attestation brought. ``tee_uuid`` is asserted by the box, not signed; ``level`` says
    what kind of box answered, as the harness knows it; the rest was signed in the TEE.

    Raises BadInput when a value has a form that no attestation has.
    """

    nonce: bytes
    level: EvidenceLevel
    algorithm: int
    key: AttestationKey
    tee_memory: Signed
    enclave: EnclaveEvidence | None
    tee_uuid: UUID | None

    def __post_init__(self) -> None:
        size = len(self.nonce)
        _want("nonce", f"{size} bytes", size in NONCE_SIZES, "16 to 64 bytes")
        _want("algorithm", self.algorithm, 0 <= self.algorithm < 1 << 32, "a 32-bit number")

    def to_dict(self) -> dict[str, object]:
        """Only strings, numbers, dicts and None: what ``from_dict`` takes. No secrets in it."""
        enclave = self.enclave
        return {
            "format": FORMAT,
            "nonce": self.nonce.hex(),
            "level": self.level.value,
            "algorithm": self.algorithm,
            "key": {
                "modulus": self.key.modulus.to_bytes(self.key.size).hex(),
                "exponent": self.key.exponent,
            },
            "tee_memory": _signed_dict(self.tee_memory),
            "enclave": enclave
            and {
                "uuid": str(enclave.uuid),
                "memory": _signed_dict(enclave.memory),
                "identity": _signed_dict(enclave.identity),
            },
            "tee_uuid": self.tee_uuid and str(self.tee_uuid),
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Evidence:
        """Read back what ``to_json`` wrote. Raises BadInput for anything else."""
        _want("size", len(text), len(text) <= LARGEST_JSON, f"at most {LARGEST_JSON} characters")
        try:
            found = json.loads(text, object_pairs_hook=_no_twins, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise _bad("JSON", str(error), "a JSON object without repeated keys") from error
        evidence = cls.from_dict(found)
        # One evidence has one form, so that whoever compares or signs texts compares evidence.
        _want("JSON", "another form", evidence.to_json() == text, "the form that to_json gives")
        return evidence

    @classmethod
    def from_dict(cls, found: object) -> Evidence:
        """Read back what ``to_dict`` gave: exactly its keys, exactly its forms, or BadInput."""
        top = _table(found, "evidence", cls.__slots__, extra=("format",))
        _want("format", top["format"], top["format"] == FORMAT, repr(FORMAT))
        key = _table(top["key"], "key", ("modulus", "exponent"))
        levels = [level.value for level in EvidenceLevel]
        _want("level", top["level"], top["level"] in levels, f"one of {', '.join(levels)}")
        return cls(
            nonce=_hex(top["nonce"], "nonce"),
            level=EvidenceLevel(top["level"]),
            algorithm=_number(top["algorithm"], "algorithm"),
            key=AttestationKey(
                int.from_bytes(_hex(key["modulus"], "key.modulus")),
                _number(key["exponent"], "key.exponent"),
            ),
            tee_memory=_signed(top["tee_memory"], "tee_memory"),
            enclave=None if top["enclave"] is None else _enclave(top["enclave"]),
            tee_uuid=None if top["tee_uuid"] is None else _uuid(top["tee_uuid"], "tee_uuid"),
        )


def _signed_dict(signed: Signed | None) -> dict[str, object] | None:
    if signed is None:
        return None
    return {"digest": signed.digest.hex(), "signature": signed.signature.hex()}


def _signed(found: object, key: str) -> Signed:
    table = _table(found, key, Signed.__slots__)
    return Signed(
        _hex(table["digest"], f"{key}.digest"), _hex(table["signature"], f"{key}.signature")
    )


def _enclave(found: object) -> EnclaveEvidence:
    table = _table(found, "enclave", EnclaveEvidence.__slots__)
    memory, identity = table["memory"], table["identity"]
    return EnclaveEvidence(
        _uuid(table["uuid"], "enclave.uuid"),
        None if memory is None else _signed(memory, "enclave.memory"),
        None if identity is None else _signed(identity, "enclave.identity"),
    )


def _table(
    found: object, key: str, names: tuple[str, ...], *, extra: tuple[str, ...] = ()
) -> Mapping[str, Any]:
    wanted = {*names, *extra}
    if not isinstance(found, dict) or found.keys() != wanted:
        raise _bad(key, found, f"an object with exactly {', '.join(sorted(wanted))}")
    return found


def _hex(found: object, key: str) -> bytes:
    """Lower case only: one value has one form."""
    if not isinstance(found, str) or not re.fullmatch(r"(?:[0-9a-f]{2}){1,512}", found, re.A):
        raise _bad(key, found, "1 to 512 bytes in lower-case hex")
    return bytes.fromhex(found)


def _number(found: object, key: str) -> int:
    if type(found) is not int:  # bool is an int, too
        raise _bad(key, found, "a whole number")
    return found


def _uuid(found: object, key: str) -> UUID:
    if not isinstance(found, str) or not re.fullmatch(
        r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", found, re.A
    ):
        raise _bad(key, found, "a UUID in lower case")
    return UUID(found)


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key is there twice")
    return table


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


def _want(key: str, value: object, right: bool, expected: str) -> None:
    if not right:
        raise _bad(key, value, expected)


def _bad(key: str, value: object, expected: str) -> BadInput:
    return BadInput(where="evidence", key=key, value=value, expected=expected)
