"""Evidence as an Entity Attestation Token: a CWT that a station signs (RFC 9711, 8392, 9052).

::

    COSE_Sign1 (tag 18), Ed25519, the signer's key id in the protected header
        6    iat            when the box was asked, Unix seconds
        10   eat_nonce      the nonce that the box was asked with
        256  ueid           0x01 and the TEE UUID; left out when the box told none
        265  eat_profile    PROFILE
        274  measres        each check of the station's own verdict, and how it came out
        -70001  evidence level: functional, hardware, hardware+fused
        -70002  evidence    JSON of ``Evidence``, which the box's TEE signed; left out if none
        -70003  observed    JSON of ``Observed``, which nobody but this token's signer vouches for

The token's signature says who looked; what the TEE measured is proved by the TEE's own signatures
inside, which a verifier checks again. One token has one form: another encoding of the same claims
is refused.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cwt import COSE, COSEKey
from cwt.exceptions import CWTError

from harness.errors import BadInput, IntegrityFailure
from harness.target import EvidenceLevel
from provisioning.evidence import NONCE_SIZES, Evidence
from provisioning.observed import Observed
from provisioning.outcome import Outcome
from provisioning.policy import Check
from provisioning.verdict import Verdict

PROFILE = "urn:uuid:7f5c0a0e-6c55-4f0b-9f7a-3f3c8f2f9f61"
"""Names this set of claims. Another set gets another one."""
LARGEST = 256 << 10
"""Bytes of a token; one takes about 8000."""
_SYSTEM = "trustbox"
_IAT, _NONCE, _UEID, _PROFILE, _MEASRES = 6, 10, 256, 265, 274
_LEVEL, _EVIDENCE, _OBSERVED = -70001, -70002, -70003
_RAND = b"\x01"
"""RFC 9711 4.2.1.1: the UEID's type for 128 bits without structure."""
_EDDSA, _ED25519 = -8, -19
"""COSE algorithms: RFC 9864 deprecates the first for the second. Both are read; tokens are signed
with the first as long as it is not known that the verifiers in use know the second."""
_KID_BYTES = 8
# RFC 9711 4.2.17, result-type.
_RESULTS = {Outcome.PASS: 1, Outcome.FAIL: 2, Outcome.UNKNOWN: 3, Outcome.ABSENT: 4}


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says, once its signature was found to be good. ``at``: Unix seconds."""

    nonce: bytes
    at: int
    level: EvidenceLevel
    evidence: Evidence | None
    observed: Observed
    results: tuple[tuple[Check, Outcome], ...]
    """The signer's own verdict: for comparison, not to be relied on by others."""


def sign(
    key: Ed25519PrivateKey,
    *,
    nonce: bytes,
    at: int,
    evidence: Evidence | None,
    observed: Observed,
    verdict: Verdict,
) -> bytes:
    """The token, signed."""
    claims: dict[int, Any] = {
        _IAT: at,
        _NONCE: nonce,
        _PROFILE: PROFILE,
        _MEASRES: [[_SYSTEM, [[f.check.value, _RESULTS[f.outcome]] for f in verdict.findings]]],
        _LEVEL: verdict.level.value,
        _OBSERVED: _compact(observed.to_dict()),
    }
    if evidence is not None:
        claims[_EVIDENCE] = evidence.to_json()
        if evidence.tee_uuid is not None:
            claims[_UEID] = _RAND + evidence.tee_uuid.bytes
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    signer = COSEKey.from_pem(pem, kid=key_id(key.public_key()))
    token = COSE.new().encode_and_sign(
        cbor2.dumps(claims, canonical=True), signer, protected={1: _EDDSA, 4: signer.kid}
    )
    if not isinstance(token, bytes):
        raise AssertionError("a token is bytes")
    return token


def read(data: bytes, signer: Ed25519PublicKey, *, where: str = "token") -> Token:
    """Check the signature by ``signer``, then read the claims.

    Raises IntegrityFailure for another signature, BadInput for what is no token of this form.
    """
    if not 0 < len(data) <= LARGEST:
        raise BadInput(
            where=where, key="size", value=len(data), expected=f"1 to {LARGEST} bytes of a token"
        )
    claims = _claims(_signed(data, signer, where), where)
    reader = _Reader(claims, where)
    evidence = reader.evidence()
    token = Token(
        nonce=reader.nonce(),
        at=reader.at(),
        level=reader.level(),
        evidence=evidence,
        observed=reader.observed(),
        results=reader.results(),
    )
    reader.consistent(token)
    return token


def key_id(key: Ed25519PublicKey) -> bytes:
    """The first bytes of the SHA-256 of the SubjectPublicKeyInfo (DER)."""
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()[:_KID_BYTES]


def _signed(data: bytes, signer: Ed25519PublicKey, where: str) -> bytes:
    """The payload. What a signature does not cover must have the one form that it can have."""
    try:
        outer = cbor2.loads(data)
        protected, unprotected, payload, signature = outer.value
        plain = outer.tag == 18 and unprotected == {}
        if not plain or cbor2.dumps(outer) != data:
            raise ValueError("another form")
        wanted = [
            cbor2.dumps({1: alg, 4: key_id(signer)}, canonical=True) for alg in (_EDDSA, _ED25519)
        ]
        if protected not in wanted or not isinstance(payload, bytes) or len(signature) != 64:
            raise ValueError("another header")
    except Exception as problem:
        raise BadInput(
            where=where,
            key="COSE_Sign1",
            value=f"{type(problem).__name__}: {problem}",
            expected=f"a token signed by {key_id(signer).hex()}",
        ) from problem
    pem = signer.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    try:
        COSE.new().decode_with_headers(data, COSEKey.from_pem(pem, kid=key_id(signer)))
    except (CWTError, ValueError) as problem:
        raise IntegrityFailure(f"{where}: the signature does not verify: {problem}") from problem
    return payload


def _claims(payload: bytes, where: str) -> dict[int, Any]:
    try:
        claims = cbor2.loads(payload)
        right = isinstance(claims, dict) and cbor2.dumps(claims, canonical=True) == payload
    except Exception as problem:
        raise _bad(where, "claims", problem, "CBOR") from problem
    if not right:
        raise _bad(where, "claims", "another form", "a CBOR map in its canonical form")
    known = {_IAT, _NONCE, _UEID, _PROFILE, _MEASRES, _LEVEL, _EVIDENCE, _OBSERVED}
    if not known - {_UEID, _EVIDENCE} <= claims.keys() <= known:
        raise _bad(where, "claims", sorted(claims, key=str), "those of this profile, no others")
    return dict(claims)


class _Reader:
    def __init__(self, claims: dict[int, Any], where: str) -> None:
        self._claims, self._where = claims, where

    def nonce(self) -> bytes:
        value = self._claims[_NONCE]
        if not isinstance(value, bytes) or len(value) not in NONCE_SIZES:
            raise self._bad("eat_nonce", value, "16 to 64 bytes")
        return value

    def at(self) -> int:
        value = self._claims[_IAT]
        if type(value) is not int or not 0 <= value < 1 << 40:
            raise self._bad("iat", value, "seconds since 1970")
        return value

    def level(self) -> EvidenceLevel:
        try:
            return EvidenceLevel(self._claims[_LEVEL])
        except ValueError as problem:
            raise self._bad("level", self._claims[_LEVEL], "an evidence level") from problem

    def evidence(self) -> Evidence | None:
        if _EVIDENCE not in self._claims:
            return None
        return Evidence.from_json(self._text(_EVIDENCE, "evidence"))

    def observed(self) -> Observed:
        text = self._text(_OBSERVED, "observed")
        try:
            found = Observed.from_dict(json.loads(text))
        except (ValueError, RecursionError) as problem:
            raise self._bad("observed", problem, "JSON") from problem
        if _compact(found.to_dict()) != text:
            raise self._bad("observed", "another form", "the form that to_dict gives")
        return found

    def results(self) -> tuple[tuple[Check, Outcome], ...]:
        outcomes = {number: outcome for outcome, number in _RESULTS.items()}
        try:
            ((system, pairs),) = self._claims[_MEASRES]
            found = tuple((Check(name), outcomes[number]) for name, number in pairs)
        except (ValueError, TypeError, KeyError) as problem:
            raise self._bad("measres", problem, "a result for each check") from problem
        if system != _SYSTEM or [check for check, _ in found] != list(Check):
            raise self._bad("measres", system, "a result for each check, in order")
        return found

    def consistent(self, token: Token) -> None:
        """What is said twice must be the same."""
        if self._claims[_PROFILE] != PROFILE:
            raise self._bad("eat_profile", self._claims[_PROFILE], PROFILE)
        found = token.evidence
        told = found.tee_uuid if found else None
        ueid: UUID | None = None
        if _UEID in self._claims:
            value = self._claims[_UEID]
            if not isinstance(value, bytes) or len(value) != 17 or value[:1] != _RAND:
                raise self._bad("ueid", value, "0x01 and 16 bytes")
            ueid = UUID(bytes=value[1:])
        if ueid != told:
            raise self._bad("ueid", ueid, f"{told}, as in the evidence")
        if found and (found.nonce, found.level) != (token.nonce, token.level):
            raise self._bad("evidence", found.level.value, "nonce and level of the token")

    def _text(self, claim: int, name: str) -> str:
        value = self._claims[claim]
        if not isinstance(value, str):
            raise self._bad(name, value, "a text")
        return value

    def _bad(self, key: str, value: object, expected: str) -> BadInput:
        return _bad(self._where, key, value, expected)


def _compact(found: object) -> str:
    return json.dumps(found, separators=(",", ":"), sort_keys=True)


def _bad(where: str, key: str, value: object, expected: str) -> BadInput:
    shown = str(value) if isinstance(value, Exception) else value
    return BadInput(where=where, key=key, value=shown, expected=expected)
