"""The verdict on evidence: pure, asks nobody, runs every check and names each.

::

    pass     looked, and it is as the policy says
    fail     looked, and it is not
    absent   the evidence has nothing to look at
    unknown  the policy has nothing to compare with

Only ``pass`` counts as passed. A ``fail`` refuses the evidence even where the check is not
required: what was seen to be wrong is not overlooked because nobody asked. The one exception is a
check that the policy says it tolerates by name; its ``fail`` is still shown.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from harness.errors import IntegrityFailure
from harness.target import EvidenceLevel
from provisioning.evidence import RSA_PSS_SHA256, AttestationKey, Evidence, Signed
from provisioning.observed import Observed
from provisioning.outcome import Looked
from provisioning.outcome import Outcome as Outcome
from provisioning.policy import Check, Policy
from provisioning.verdict_observed import OF_OBSERVED, look_at, said

ZERO_HUK_UUID = UUID("94e9ab89-4c43-56ea-8b35-45dc07226830")
"""The TEE UUID that OP-TEE derives from 16 zero bytes (core/tee/tee_svc.c): everything that such a
box seals can be read by anybody who has its disk."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: how it came out, whether the policy requires it, and why in one sentence."""

    check: Check
    outcome: Outcome
    required: bool
    why: str
    tolerated: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every check, in the order of ``Check``. ``level`` is what the evidence can prove at best."""

    findings: tuple[Finding, ...]
    level: EvidenceLevel

    @property
    def ok(self) -> bool:
        """Every required check passed and no other one failed that the policy does not tolerate."""
        return not self.refusals

    @property
    def refusals(self) -> tuple[Finding, ...]:
        """The findings for which the evidence is refused."""
        return tuple(
            finding
            for finding in self.findings
            if (finding.outcome is Outcome.FAIL and not finding.tolerated)
            or (finding.required and finding.outcome is not Outcome.PASS)
        )

    def __getitem__(self, check: Check) -> Finding:
        return next(finding for finding in self.findings if finding.check is check)

    def demand(self) -> None:
        """Raises IntegrityFailure, naming every check for which the evidence is refused."""
        if not self.ok:
            told = "; ".join(f"{f.check.value}: {f.outcome.value}, {f.why}" for f in self.refusals)
            raise IntegrityFailure(f"the evidence is refused ({told})")

    def to_dict(self) -> dict[str, object]:
        return {
            "ok": self.ok,
            "level": self.level.value,
            "checks": {
                finding.check.value: {
                    "outcome": finding.outcome.value,
                    "required": finding.required,
                    "tolerated": finding.tolerated,
                    "why": finding.why,
                }
                for finding in self.findings
            },
        }


def verify(evidence: Evidence | None, policy: Policy, observed: Observed | None = None) -> Verdict:
    """Judge evidence, and what else was seen of the box, by a policy. Never raises, whatever is in
    them. Without evidence (the TEE refused to give any) every check of it is ``absent``."""
    seen = observed or Observed()
    looked = {
        **(_measured(evidence, policy) if evidence else dict.fromkeys(OF_EVIDENCE, _NOT_THERE)),
        **look_at(seen, policy),
    }
    if seen.enclave is not None:
        refused: Looked = (Outcome.FAIL, f"the enclave was not measured: {said(seen.enclave)}")
        looked |= {c: refused for c in _OF_ENCLAVE if looked[c][0] is Outcome.ABSENT}
    required = policy.required
    return Verdict(
        tuple(
            Finding(check, *_split(looked[check], check in required, check in policy.tolerate))
            for check in Check
        ),
        evidence.level if evidence else policy.level,
    )


def _split(looked: Looked, required: bool, tolerated: bool) -> tuple[Outcome, bool, str, bool]:
    return looked[0], required, looked[1], tolerated


def _measured(evidence: Evidence, policy: Policy) -> dict[Check, Looked]:
    enclave = evidence.enclave
    memory = enclave.memory if enclave else None
    identity = enclave.identity if enclave else None
    other = _other_enclave(evidence, policy)
    key, nonce = evidence.key, evidence.nonce
    return {
        Check.NONCE: _same(nonce, policy.nonce, "the nonce that was asked with"),
        Check.LEVEL: _same(evidence.level, policy.level, f"level {policy.level.value}"),
        Check.ALGORITHM: _same(evidence.algorithm, RSA_PSS_SHA256, "RSA-PSS with SHA-256"),
        Check.KEY: _same(
            key, policy.key, "the pinned key", unknown="no key is pinned: trusted on first use"
        ),
        Check.TEE_SIGNATURE: _signature(key, nonce, evidence.tee_memory),
        Check.TEE_MEMORY: _same(
            evidence.tee_memory.digest, policy.tee_memory, "the golden measurement"
        ),
        Check.ENCLAVE_MEMORY_SIGNATURE: _signature(key, nonce, memory),
        Check.ENCLAVE_MEMORY: other
        or _same(memory and memory.digest, policy.enclave_memory, "the golden measurement"),
        Check.ENCLAVE_IDENTITY_SIGNATURE: _signature(key, nonce, identity),
        Check.ENCLAVE_IDENTITY: other
        or _same(identity and identity.digest, policy.enclave_identity, "the expected digest"),
        Check.TEE_UUID: _same(evidence.tee_uuid, policy.tee_uuid, "the expected TEE UUID"),
        Check.HUK: _huk(evidence.tee_uuid),
    }


_OF_ENCLAVE = (
    Check.ENCLAVE_MEMORY_SIGNATURE,
    Check.ENCLAVE_MEMORY,
    Check.ENCLAVE_IDENTITY_SIGNATURE,
    Check.ENCLAVE_IDENTITY,
)
OF_EVIDENCE = tuple(check for check in Check if check not in OF_OBSERVED)
_NOT_THERE: Looked = (Outcome.ABSENT, "the TEE gave no evidence")


def _same(found: object, expected: object, what: str, *, unknown: str = "") -> Looked:
    if found is None:
        return Outcome.ABSENT, "the evidence does not have it"
    if expected is None:
        return Outcome.UNKNOWN, unknown or "the policy has nothing to compare it with"
    if isinstance(found, bytes) and isinstance(expected, bytes):
        same = hmac.compare_digest(found, expected)
    else:
        same = found == expected
    return (Outcome.PASS, f"it is {what}") if same else (Outcome.FAIL, f"it is not {what}")


def _signature(key: AttestationKey, nonce: bytes, signed: Signed | None) -> Looked:
    """RSA-PSS, MGF1 and SHA-256, salt of 32 bytes, over SHA-256(nonce || digest)
    (OP-TEE core/pta/attestation.c, sign_buffer)."""
    if signed is None:
        return Outcome.ABSENT, "the evidence does not have it"
    digest = hashlib.sha256(nonce + signed.digest).digest()
    padding = PSS(mgf=MGF1(SHA256()), salt_length=32)
    try:
        key.public_key().verify(signed.signature, digest, padding, Prehashed(SHA256()))
    except (InvalidSignature, ValueError):  # ValueError: a modulus that no RSA key has
        return Outcome.FAIL, "the signature does not verify"
    return Outcome.PASS, "the signature verifies"


def _other_enclave(evidence: Evidence, policy: Policy) -> Looked | None:
    if evidence.enclave is None or policy.enclave in (None, evidence.enclave.uuid):
        return None
    return Outcome.FAIL, f"the evidence is about enclave {evidence.enclave.uuid}"


def _huk(tee_uuid: UUID | None) -> Looked:
    if tee_uuid is None:
        return Outcome.ABSENT, "the box did not tell its TEE UUID"
    if tee_uuid == ZERO_HUK_UUID:
        return Outcome.FAIL, "the TEE UUID is that of an all-zero hardware unique key"
    return Outcome.PASS, "the TEE UUID is not that of an all-zero hardware unique key"
