"""``box.integrity``: what the box's TEE measures of itself. Judging it is ``verdict.verify``'s."""

from __future__ import annotations

from uuid import UUID

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import Misuse, TeeRefused
from harness.target import Target
from harness.tee import TeeClient
from harness.tee_codes import TeeCode
from provisioning.attestation import PTA, AttestationPta, split
from provisioning.device_id import tee_uuid
from provisioning.evidence import NONCE_SIZES, AttestationKey, EnclaveEvidence, Evidence, Signed
from provisioning.sample_enclave import MEASURE_SELF, SampleEnclave


class IntegritySession:
    """Opens nothing before its first verb. Raises what the TEE client raises."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def attest(
        self,
        nonce: bytes,
        *,
        by: Deadline,
        enclave: UUID | None = None,
        measures: int | None = MEASURE_SELF,
    ) -> Evidence:
        """Have the TEE measured and signed together with ``nonce`` (16 to 64 bytes, new each time).

        With ``enclave`` the evidence tells which file is installed for it and, if it is installed,
        what it measures of itself: ``measures`` is the number of its command for that (parameters
        as in enclaves/sample/sample.h), None for an enclave that has none.

        Raises MissingCapability without the attestation PTA, Misuse for a nonce of another size. A
        box's first attestation makes its key: allow it half a minute.
        """
        if len(nonce) not in NONCE_SIZES:
            raise Misuse(f"the nonce has {len(nonce)} bytes; it needs 16 to 64")
        self._target.require(Capability.ATTESTATION)
        with TeeClient.open(self._target, by=by) as client:
            with client.open_session(PTA, by=by) as session:
                pta = AttestationPta(session)
                key, algorithm = pta.key(by=by)
                memory = pta.tee_memory(nonce, key, by=by)
                identity = _identity(pta, enclave, nonce, key, by) if enclave else None
            about = None
            if enclave is not None:
                measured = None
                if identity is not None and measures is not None:
                    with client.open_session(enclave, by=by) as session:
                        answer = SampleEnclave(session).measure_self(nonce, by=by, command=measures)
                        measured = split(answer, key)
                about = EnclaveEvidence(enclave, measured, identity)
            return Evidence(
                nonce=nonce,
                level=self._target.evidence_level,
                algorithm=algorithm,
                key=key,
                tee_memory=memory,
                enclave=about,
                tee_uuid=tee_uuid(client, by=by),
            )


def _identity(
    pta: AttestationPta, enclave: UUID, nonce: bytes, key: AttestationKey, by: Deadline
) -> Signed | None:
    try:
        return pta.ta_identity(enclave, nonce, key, by=by)
    except TeeRefused as refused:
        if refused.code == TeeCode.ITEM_NOT_FOUND:
            return None  # not installed: absent, for the verdict to judge
        raise
