"""``box.integrity`` against the golden measurement, and what the attestation PTA refuses.

The box's attestation key is made by the first test (seconds) and stays for the others, which is why
none of them asks for a pristine box: what they put on it, they take away again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import MissingCapability, Misuse, TeeRefused
from harness.target import Target
from harness.tee import TeeClient, TeeSession
from harness.tee_codes import TeeCode, TeeOrigin
from harness.tee_params import Direction, Memref, Param
from provisioning.attestation import (
    GET_TA_SHDR_DIGEST,
    HASH_TA_MEMORY,
    HASH_TEE_MEMORY,
    PTA,
)
from provisioning.device_id import PKCS11_TA
from provisioning.enclave_golden import golden_ta
from provisioning.evidence import Evidence
from provisioning.integrity import IntegritySession
from provisioning.policy import Check, Policy
from provisioning.sample_enclave import SAMPLE
from provisioning.trustbox import TrustBox
from provisioning.verdict import Outcome, verify
from tests.device.sample import DIGEST, build_sample, flipped

pytestmark = [
    pytest.mark.needs(Capability.AGENT, Capability.ATTESTATION),
    pytest.mark.integrity,
]

IN, OUT = Direction.IN, Direction.OUT
NONCE = Memref(bytes(range(32)), IN)
ROOM = Memref(600, OUT)
LOADS = (Capability.TA_LOAD, Capability.TA_DEVKIT)
NOBODY = UUID("00000000-1111-4222-8333-444444444444")


@pytest.fixture
def pta(target: Target, by: Deadline) -> Iterator[TeeSession]:
    """A session with the attestation PTA, from the normal world."""
    with TeeClient.open(target, by=by) as client, client.open_session(PTA, by=by) as session:
        yield session


@pytest.fixture
def sample(target: Target) -> Iterator[bytes]:
    """The sample enclave, for a test that puts it on the box."""
    yield build_sample(target)
    target.shell.run("rm", "-f", "--", TrustBox(target).enclave.path(SAMPLE), by=Deadline.after(10))


def attested(target: Target, by: Deadline) -> Evidence:
    return IntegritySession(target).attest(os.urandom(32), by=by)


def policy(target: Target, evidence: Evidence) -> Policy:
    """What the evidence's nonce and this box's firmware lead to expect."""
    return Policy(
        nonce=evidence.nonce,
        tee_memory=target.firmware.golden_tee,
        level=target.evidence_level,
        key=evidence.key,
    )


@pytest.mark.needs(Capability.GOLDEN)
def test_the_tee_measures_what_its_build_says(target: Target, by: Deadline) -> None:
    evidence = attested(target, by)

    verify(evidence, policy(target, evidence)).demand()


@pytest.mark.case("N-21", expect="the verifier refuses")
@pytest.mark.needs(Capability.GOLDEN)
def test_evidence_is_good_for_its_own_nonce_only(target: Target, by: Deadline) -> None:
    old = attested(target, by)

    replayed = verify(old, replace(policy(target, old), nonce=os.urandom(32)))

    assert replayed[Check.NONCE].outcome is Outcome.FAIL
    assert not replayed.ok


@pytest.mark.case("N-21", expect="the verifier refuses")
@pytest.mark.needs(Capability.GOLDEN)
def test_an_old_signature_under_a_new_nonce_is_refused(target: Target, by: Deadline) -> None:
    old, new = attested(target, by), attested(target, by)

    forged = replace(new, tee_memory=old.tee_memory)

    assert not verify(forged, policy(target, forged)).ok


@pytest.mark.needs(Capability.GOLDEN)
def test_another_golden_measurement_refuses_the_box(target: Target, by: Deadline) -> None:
    evidence = attested(target, by)

    verdict = verify(evidence, replace(policy(target, evidence), tee_memory=bytes(32)))

    assert verdict[Check.TEE_MEMORY].outcome is Outcome.FAIL


def test_the_attestation_key_stays_the_same(target: Target, by: Deadline) -> None:
    assert attested(target, by).key == attested(target, by).key


def test_evidence_comes_back_from_json_as_it_was(target: Target, by: Deadline) -> None:
    evidence = attested(target, by)

    assert Evidence.from_json(evidence.to_json()) == evidence


@pytest.mark.case("N-29", expect="huk passes")
@pytest.mark.needs(Capability.OWN_HUK, Capability.PKCS11)
def test_the_box_has_a_hardware_unique_key_of_its_own(target: Target, by: Deadline) -> None:
    evidence = attested(target, by)

    assert verify(evidence, policy(target, evidence))[Check.HUK].outcome is Outcome.PASS


@pytest.mark.parametrize("size", [0, 15, 65])
def test_a_nonce_of_the_wrong_size_is_refused_before_the_box_is_asked(
    target: Target, by: Deadline, size: int
) -> None:
    with pytest.raises(Misuse):
        IntegritySession(target).attest(bytes(size), by=by)


@pytest.mark.case("N-23", expect="MissingCapability names it")
def test_a_box_without_attestation_says_what_it_lacks(target: Target, by: Deadline) -> None:
    without = replace(target, capabilities=target.capabilities - {Capability.ATTESTATION})

    with pytest.raises(MissingCapability) as caught:
        IntegritySession(without).attest(bytes(32), by=by)

    assert caught.value.missing == (Capability.ATTESTATION.value,)


def test_an_enclave_that_is_not_installed_is_absent_from_the_evidence(
    target: Target, by: Deadline
) -> None:
    evidence = IntegritySession(target).attest(os.urandom(32), enclave=NOBODY, by=by)

    expecting = replace(policy(target, evidence), enclave=NOBODY, enclave_identity=bytes(32))
    verdict = verify(evidence, expecting)

    assert verdict[Check.ENCLAVE_IDENTITY].outcome is Outcome.ABSENT
    assert not verdict.ok


@pytest.mark.case("N-20", expect="0xffff0001 from the TEE")
def test_a_client_cannot_have_a_ta_measured(pta: TeeSession, by: Deadline) -> None:
    result = pta.invoke(HASH_TA_MEMORY, NONCE, ROOM, by=by)

    assert (result.code, result.origin) == (TeeCode.ACCESS_DENIED, TeeOrigin.TRUSTED_APP)


@pytest.mark.case("N-18", expect="0xffff0006, or 0xffff0008 for an unknown TA")
@pytest.mark.parametrize(
    ("command", "params", "code"),
    [
        pytest.param(
            HASH_TEE_MEMORY, (Memref(b"", IN), ROOM), TeeCode.BAD_PARAMETERS, id="empty nonce"
        ),
        pytest.param(HASH_TEE_MEMORY, (ROOM, NONCE), TeeCode.BAD_PARAMETERS, id="swapped types"),
        pytest.param(
            GET_TA_SHDR_DIGEST,
            (Memref(PKCS11_TA.bytes_le[:15], IN), NONCE, ROOM),
            TeeCode.BAD_PARAMETERS,
            id="15-byte UUID",
        ),
        pytest.param(
            GET_TA_SHDR_DIGEST,
            (Memref(NOBODY.bytes_le, IN), NONCE, ROOM),
            TeeCode.ITEM_NOT_FOUND,
            id="unknown TA",
        ),
    ],
)
def test_the_pta_refuses(
    pta: TeeSession, by: Deadline, command: int, params: tuple[Param, ...], code: int
) -> None:
    assert pta.invoke(command, *params, by=by).code == code


@pytest.mark.case("N-18", expect="0xffff0006")
@pytest.mark.weakness(
    "the refusal is forgotten: core/pta/attestation.c, invoke_command", below="4.11"
)
def test_the_pta_refuses_an_unknown_command(target: Target, pta: TeeSession, by: Deadline) -> None:
    assert pta.invoke(99, NONCE, ROOM, by=by).code == TeeCode.BAD_PARAMETERS


@pytest.mark.case("N-19", expect="0xffff0010, and the size that is needed")
def test_the_pta_says_how_much_room_its_answer_needs(
    target: Target, pta: TeeSession, by: Deadline
) -> None:
    result = pta.invoke(HASH_TEE_MEMORY, NONCE, Memref(100, OUT), by=by)

    assert result.code == TeeCode.SHORT_BUFFER
    assert result.params[1] == Memref(32 + attested(target, by).key.size, OUT)


@pytest.mark.needs(Capability.GOLDEN, *LOADS)
def test_an_enclave_measures_what_its_file_says(
    target: Target, sample: bytes, by: Deadline
) -> None:
    box = TrustBox(target)
    box.enclave.install(SAMPLE, sample, by=by)

    evidence = box.integrity.attest(os.urandom(32), enclave=SAMPLE, by=by)

    expecting = replace(
        policy(target, evidence),
        enclave=SAMPLE,
        enclave_memory=golden_ta(sample),
        enclave_identity=sample[DIGEST],
    )
    verify(evidence, expecting).demand()


@pytest.mark.needs(*LOADS)
def test_an_enclave_with_a_damaged_header_has_no_identity(
    target: Target, sample: bytes, by: Deadline
) -> None:
    box = TrustBox(target)
    spoilt = flipped(sample, DIGEST.start)
    target.shell.write(box.enclave.path(SAMPLE), spoilt, by=by, mode=0o444)

    with pytest.raises(TeeRefused) as caught:
        box.integrity.attest(os.urandom(32), enclave=SAMPLE, by=by)

    assert caught.value.code == TeeCode.SECURITY
