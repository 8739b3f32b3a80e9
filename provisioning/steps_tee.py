"""The steps about the TEE's code: the enclave on the box, and the attestation of all of it."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from uuid import UUID

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import BadInput, IntegrityFailure
from provisioning.device_id import PKCS11_TA
from provisioning.enclave_build import SAMPLE as SAMPLE_SOURCE
from provisioning.enclave_build import build_enclave
from provisioning.enclave_golden import golden_ta
from provisioning.enclave_image import Kind, parse
from provisioning.evidence import AttestationKey, Evidence
from provisioning.outcome import Outcome
from provisioning.policy import Check, Policy
from provisioning.record import intended, observed, value
from provisioning.reprove_storage import is_replaced, judge_sealed
from provisioning.sample_enclave import MEASURE_SELF, SAMPLE, SampleEnclave
from provisioning.verdict import Verdict, verify
from provisioning.work import Work, need


class EnclaveStep:
    """The plan's Trusted Application on the box: opened, and the sample invoked."""

    name, doing, seconds = "enclave", "installing the enclave", 300.0

    def probe(self, work: Work, by: Deadline) -> str | None:
        uuid, wanted = self._wanted(work, by)
        if all(one.uuid != uuid for one in work.box.enclave.installed(by=by)):
            return None
        if work.box.target.shell.read(work.box.enclave.path(uuid), by=by) != wanted:
            return None
        return f"enclave {uuid} is installed{self._tried(work, uuid, by)}"

    def act(self, work: Work, by: Deadline) -> None:
        # Where the TEE refuses it, the one that was there before is there again.
        work.box.enclave.install_proven(*self._wanted(work, by), by=by)

    def confirm(self, work: Work, by: Deadline) -> str:
        uuid, _ = self._wanted(work, by)
        return f"enclave {uuid} installed{self._tried(work, uuid, by)}"

    @staticmethod
    def _wanted(work: Work, by: Deadline) -> tuple[UUID, bytes]:
        plan, firmware = work.plan, work.box.target.firmware
        if work.enclave_bytes is None:
            if plan.enclave is None:
                work.box.target.require(Capability.TA_DEVKIT)
                devkit = need(firmware.devkit, "the TA dev kit")
                key = need(firmware.ta_signing_key, "the TA signing key")
                work.enclave_bytes = build_enclave(SAMPLE_SOURCE, devkit=devkit, key=key, by=by)
            else:
                work.enclave_bytes = _file(plan.enclave)
        image = parse(work.enclave_bytes)
        work.enclave_uuid = plan.enclave_uuid or SAMPLE
        work.note(
            "enclave",
            uuid=intended(str(work.enclave_uuid)),
            version=intended(image.version),
            file_sha256=intended(hashlib.sha256(work.enclave_bytes).hexdigest()),
            header_digest=intended(image.digest.hex()),
        )
        return work.enclave_uuid, work.enclave_bytes

    @staticmethod
    def _tried(work: Work, uuid: UUID, by: Deadline) -> str:
        """Opens it; the sample must echo, and count (only the first run counts up)."""
        with work.box.enclave.open(uuid, by=by) as session:
            work.note("enclave", opened=observed(True))
            if work.plan.enclave is not None:
                return " and opens"
            sample, word = SampleEnclave(session), secrets.token_bytes(32)
            echoed = sample.echo(word, by=by) == word
            judge_sealed(work, sample.read(by=by), by)
            count = sample.read(by=by) or sample.increment(by=by)
            kept = sample.read(by=by) == count
            work.note("enclave", echoed=observed(echoed), counter=observed(count))
        if not echoed or not kept:
            raise IntegrityFailure(f"enclave {uuid} does not do what the sample does")
        return f", echoes, and its sealed counter stands at {count}"


class AttestStep:
    """Fresh evidence of the TEE's memory, judged here."""

    name, doing, seconds = "attest", "having the TEE measured", 180.0

    def look(self, work: Work, by: Deadline) -> str:
        nonce = secrets.token_bytes(32)
        measures = MEASURE_SELF if work.plan.enclave is None else None
        evidence = work.evidence = work.box.integrity.attest(
            nonce, by=by, enclave=work.enclave_uuid, measures=measures
        )
        policy = self._policy(work, nonce, by)
        verdict = work.verdict = verify(evidence, policy)
        work.note(
            "attestation",
            evidence=observed(evidence.to_dict()),
            key_fingerprint=observed(evidence.key.fingerprint),
            key_pinned_before=observed(policy.key is not None),
            golden=intended(need(policy.tee_memory, "the golden measurement").hex()),
            verdict=observed(verdict.to_dict()),
        )
        self._demand(work, verdict)
        self._bind_token(work, evidence, by)
        return f"TEE memory measures {evidence.tee_memory.digest.hex()[:16]}…, the golden value"

    @staticmethod
    def _demand(work: Work, verdict: Verdict) -> None:
        try:
            verdict.demand()
        except IntegrityFailure as refused:
            memory = verdict[Check.TEE_MEMORY].outcome is Outcome.FAIL
            planned = memory and work.plan.golden is not None
            refused.hint = (
                "Is integrity.golden in the plan the value of this box's firmware? trustbox attest"
                " shows what it measures; its maker computes what it must be from tee.elf."
                if planned
                else "The box gets neither key nor certificate from this run. Look at all that is"
                " seen of it: trustbox attest."
            )
            raise

    @staticmethod
    def _bind_token(work: Work, tee: Evidence, by: Deadline) -> None:
        """Which PKCS#11 TA vouches for the key: its header digest, signed by the TEE just judged.

        What a token asserts of its keys is worth as much as the TA that asserts it.
        """
        nonce = secrets.token_bytes(32)
        about = work.box.integrity.attest(nonce, by=by, enclave=PKCS11_TA, measures=None)
        verify(
            about,
            Policy(
                nonce=nonce,
                tee_memory=tee.tee_memory.digest,
                level=tee.level,
                key=tee.key,
                enclave=PKCS11_TA,
                require=frozenset({Check.ENCLAVE_IDENTITY_SIGNATURE}),
            ),
        ).demand()
        identity = about.enclave.identity if about.enclave else None
        digest = need(identity, "the token's TA").digest.hex()
        same_tee = value(work.earlier, "box", "tee_uuid") == str(work.tee_uuid)
        before = value(work.earlier, "key", "token_ta_digest") if same_tee else None
        judge_token_ta(
            work.box.target.serial,
            digest,
            planned=work.plan.token_ta.hex() if work.plan.token_ta else None,
            before=None if before is None else str(before),
        )
        work.note("key", token_ta=intended(str(PKCS11_TA)), token_ta_digest=observed(digest))

    @staticmethod
    def _policy(work: Work, nonce: bytes, by: Deadline) -> Policy:
        golden = work.plan.golden
        if golden is None:
            work.box.target.require(Capability.GOLDEN)
            golden = need(work.box.target.firmware.golden_tee, "the golden measurement")
        data = need(work.enclave_bytes, "the enclave")
        image = parse(data)
        measured = work.plan.enclave is None and image.kind is Kind.PLAIN
        return Policy(
            nonce=nonce,
            tee_memory=golden,
            level=work.box.target.evidence_level,
            key=_pinned(work, by),
            enclave=work.enclave_uuid,
            enclave_memory=golden_ta(data) if measured else None,
            enclave_identity=image.digest,
            tee_uuid=work.tee_uuid,
            require=frozenset() if work.plan.mark_unfused else frozenset({Check.HUK}),
            tolerate=frozenset({Check.HUK}) if work.plan.mark_unfused else frozenset(),
        )


def _pinned(work: Work, by: Deadline) -> AttestationKey | None:
    """The attestation key of this TEE's earlier record; None the first time, and where a person
    said that the storage which it was in is lost."""
    if value(work.earlier, "box", "tee_uuid") != str(work.tee_uuid) or is_replaced(work, by):
        return None
    found = value(work.earlier, "attestation", "evidence")
    return None if found is None else Evidence.from_dict(found).key


def judge_token_ta(serial: str, found: str, *, planned: str | None, before: str | None) -> None:
    """Raises IntegrityFailure unless the PKCS#11 TA's header digest is the plan's or, where the
    plan names none, that of this TEE's earlier record. With neither it is trusted on first use.
    """
    if planned is not None:
        if found != planned:
            raise IntegrityFailure(
                f"the PKCS#11 TA of {serial} has header digest {found}, and the plan wants"
                f" {planned}",
                hint="Install the TA that the plan means, or correct integrity.token_ta. An"
                " earlier record is untouched.",
            )
    elif before not in (None, found):
        raise IntegrityFailure(
            f"the PKCS#11 TA of {serial} is another one: its header digest was {before} when the"
            f" record was written, and is now {found}",
            hint="It holds the box's keys, and an older or another one may keep them less well. If"
            " an update of it was meant, compare the new digest with the file that you updated to"
            f' (trustbox ta inspect), and put token_ta = "{found}" into the plan\'s [integrity]. If'
            " not: stop and look. The record is untouched.",
        )


def _file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise BadInput(
            where=str(path), key="the file", value=problem.strerror, expected="a signed .ta file"
        ) from problem
