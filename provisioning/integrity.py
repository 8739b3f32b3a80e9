"""``box.integrity``: what the box's TEE measures of itself, and what else can be seen of the box.
Judging it is ``verdict.verify``'s."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from uuid import UUID

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import Misuse, TeeRefused
from harness.target import Target
from harness.tee import TeeClient
from harness.tee_codes import TeeCode
from harness.tee_supplicant import NoSupplicant
from harness.tee_trouble import STORAGE_CODES
from provisioning.attestation import PTA, AttestationPta, split
from provisioning.device_id import tee_uuid
from provisioning.evidence import NONCE_SIZES, AttestationKey, EnclaveEvidence, Evidence, Signed
from provisioning.observe import looking, of_storage
from provisioning.observed import Observed, TeeAnswer
from provisioning.sample_enclave import MEASURE_SELF, SampleEnclave

_OF_STORAGE = (*STORAGE_CODES, TeeCode.SECURITY)
"""With these the PTA answers when its key cannot be read."""


@dataclass(frozen=True, slots=True)
class Examination:
    """All that can be known of a box now. ``evidence`` None: the TEE could not give any, for
    ``refused``; what it is for is then in ``observed``.

    ``tee_seconds`` is the time of the calls in which the TEE measured and signed, of ``seconds``.
    """

    evidence: Evidence | None
    observed: Observed
    refused: TeeRefused | None
    seconds: float
    tee_seconds: float
    observing_seconds: float


class IntegritySession:
    """Opens nothing before its first verb. Raises what the TEE client raises."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._measuring = 0.0
        self._refused: TeeRefused | None = None

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
        _check(nonce)
        self._target.require(Capability.ATTESTATION)
        self._answered()
        with TeeClient.open(self._target, by=by) as client:
            return self._attest(client, nonce, by, enclave, measures)

    def examine(
        self,
        nonce: bytes,
        *,
        by: Deadline,
        enclave: UUID | None = None,
        measures: int | None = MEASURE_SELF,
        counter_command: int | None = None,
        since: float = 0.0,
        tee_only: bool = False,
    ) -> Examination:
        """``attest``, and everything else that can be seen (``provisioning.observe``).

        A TA that the TEE must refuse lies on the box's disk for a moment. ``counter_command``: the
        number of the enclave's command that tells its sealed counter. ``since``: the console's mark
        (monotonic seconds). ``tee_only`` leaves out everything but ``attest``. A box without the
        attestation PTA gives no evidence, and no error.
        """
        _check(nonce)
        began = self._begun()
        observed, evidence, refused, attesting = Observed(), None, None, 0.0
        with ExitStack() as held:
            has_tee = not self._target.missing((Capability.TEE, Capability.AGENT))
            if has_tee:
                self._target.require(Capability.TEE, Capability.AGENT)
                self._answered()
            look = None
            if not tee_only:
                look = held.enter_context(looking(self._target, plant=has_tee, by=by))
            if has_tee:
                with TeeClient.open(self._target, by=by) as client:
                    if look is not None:
                        look.try_tee(
                            client,
                            by=by,
                            counter_of=enclave if counter_command is not None else None,
                            counter_command=counter_command or 0,
                        )
                    asked = time.monotonic()
                    evidence, refused = self._evidence(client, nonce, by, enclave, measures)
                    attesting = time.monotonic() - asked
            if look is not None:
                observed = look.seen(since=since, by=by)
        if refused is not None:
            observed = replace(observed, storage=TeeAnswer(refused.code, refused.origin))
        if self._refused is not None:
            observed = replace(
                observed, enclave=TeeAnswer(self._refused.code, self._refused.origin)
            )
        seconds = time.monotonic() - began
        return Examination(
            evidence, observed, refused, seconds, self._measuring, seconds - attesting
        )

    def _evidence(
        self,
        client: TeeClient,
        nonce: bytes,
        by: Deadline,
        enclave: UUID | None,
        measures: int | None,
    ) -> tuple[Evidence | None, TeeRefused | None]:
        """Evidence, or why the TEE's storage does not let it give any, or neither."""
        if self._target.missing((Capability.ATTESTATION,)):
            return None, None
        try:
            return self._attest(client, nonce, by, enclave, measures, spoilt=True), None
        except TeeRefused as problem:
            if problem.code not in _OF_STORAGE:
                raise
            return None, problem

    def _attest(
        self,
        client: TeeClient,
        nonce: bytes,
        by: Deadline,
        enclave: UUID | None,
        measures: int | None,
        *,
        spoilt: bool = False,
    ) -> Evidence:
        """``spoilt``: an enclave that the TEE refuses to open or that does not measure itself is
        absent from it, and no error; likewise a TEE UUID that cannot be asked for."""
        with client.open_session(PTA, by=by) as session:
            pta = AttestationPta(session)
            key, algorithm = pta.key(by=by)
            memory = self._timed(lambda: pta.tee_memory(nonce, key, by=by))
            about = None
            if enclave is not None:
                about = EnclaveEvidence(enclave, None, None)
                try:
                    about = self._enclave(client, pta, about, nonce, key, by, measures)
                except TeeRefused as refused:
                    if not spoilt or of_storage(refused):
                        raise
                    self._refused = refused
        return Evidence(
            nonce=nonce,
            level=self._target.evidence_level,
            algorithm=algorithm,
            key=key,
            tee_memory=memory,
            enclave=about,
            tee_uuid=_tee_uuid(client, by, spoilt=spoilt),
        )

    def _enclave(
        self,
        client: TeeClient,
        pta: AttestationPta,
        about: EnclaveEvidence,
        nonce: bytes,
        key: AttestationKey,
        by: Deadline,
        measures: int | None,
    ) -> EnclaveEvidence:
        identity = _identity(pta, about.uuid, nonce, key, by)
        if identity is None or measures is None:
            return replace(about, identity=identity)
        with client.open_session(about.uuid, by=by) as session:
            sample = SampleEnclave(session)
            measured = self._timed(
                lambda: split(sample.measure_self(nonce, by=by, command=measures), key)
            )
        return replace(about, identity=identity, memory=measured)

    def _answered(self) -> None:
        """Raises NoSupplicant: the attestation key lies in the storage, and the call would wait."""
        nobody = self._target.unknown.get(Capability.TA_LOAD)
        if isinstance(nobody, NoSupplicant):
            raise nobody.with_traceback(None)

    def _begun(self) -> float:
        self._measuring, self._refused = 0.0, None
        return time.monotonic()

    def _timed(self, measure: Callable[[], Signed]) -> Signed:
        began = time.monotonic()
        try:
            return measure()
        finally:
            self._measuring += time.monotonic() - began


def _tee_uuid(client: TeeClient, by: Deadline, *, spoilt: bool) -> UUID | None:
    try:
        return tee_uuid(client, by=by)
    except TeeRefused as refused:
        if not spoilt or of_storage(refused):
            raise
        return None  # a PKCS#11 TA that the TEE does not load, say: the verdict finds it absent


def _check(nonce: bytes) -> None:
    if len(nonce) not in NONCE_SIZES:
        raise Misuse(f"the nonce has {len(nonce)} bytes; it needs 16 to 64")


def _identity(
    pta: AttestationPta, enclave: UUID, nonce: bytes, key: AttestationKey, by: Deadline
) -> Signed | None:
    try:
        return pta.ta_identity(enclave, nonce, key, by=by)
    except TeeRefused as refused:
        if refused.code == TeeCode.ITEM_NOT_FOUND:
            return None  # not installed: absent, for the verdict to judge
        raise
