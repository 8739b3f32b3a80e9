"""Encrypted enclaves: the box that has the key runs them, and nothing else does."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.secret import Secret
from harness.target import Target
from harness.tee_codes import TeeCode, TeeOrigin
from provisioning.enclave import EnclaveSession
from provisioning.enclave_image import Kind
from provisioning.sample_enclave import SAMPLE
from provisioning.trustbox import TrustBox
from tests.device.enclaves import (
    NOT_COPIED,
    NOT_ELF,
    before_the_payload,
    count_up,
    now,
    put,
    refusal,
    sealed_for,
    secure_log_says,
    take_away,
)
from tests.device.sample import flipped

pytestmark = [
    pytest.mark.enclave,
    pytest.mark.needs(
        Capability.TEE,
        Capability.AGENT,
        Capability.TA_LOAD,
        Capability.TA_DEVKIT,
        Capability.TA_ENCRYPTION,
    ),
]


@pytest.fixture(autouse=True)
def empty_place(module_box: TrustBox, target: Target) -> Iterator[None]:
    yield
    take_away(target, SAMPLE)


def test_an_encrypted_enclave_runs_on_the_box_that_has_its_key(
    target: Target, by: Deadline
) -> None:
    enclaves, sealed = EnclaveSession(target), sealed_for(target)
    image = enclaves.install(SAMPLE, sealed, by=by)
    once = count_up(target, by)

    assert image.kind is Kind.ENCRYPTED
    assert count_up(target, by) == once + 1


@pytest.mark.case("N-10", expect="0xffff0005 (what is decrypted makes no sense) or 0xffff000f")
def test_an_enclave_encrypted_under_another_key_does_nothing(target: Target, by: Deadline) -> None:
    put(target, SAMPLE, sealed_for(target), by)
    before, since = count_up(target, by), now()
    put(target, SAMPLE, sealed_for(target, Secret(secrets.token_bytes(32))), by)

    code, origin = refusal(target, SAMPLE, by)

    assert origin == TeeOrigin.TEE
    assert code in {TeeCode.BAD_FORMAT, TeeCode.SECURITY}
    assert secure_log_says(target, NOT_ELF, since=since, by=by)
    put(target, SAMPLE, sealed_for(target), by)
    assert count_up(target, by) == before + 1


@pytest.mark.case("N-10", expect="0xffff0005 or 0xffff000f from the TEE")
@pytest.mark.needs(Capability.OWN_HUK, Capability.MORE_BOXES)
def test_an_enclave_encrypted_for_one_box_is_of_no_use_to_another(
    target: Target, another_box: object, by: Deadline
) -> None:
    box = another_box()  # type: ignore[operator]
    assert isinstance(box, TrustBox)
    put(box.target, SAMPLE, sealed_for(target), by)

    code, origin = refusal(box.target, SAMPLE, by)

    assert origin == TeeOrigin.TEE
    assert code in {TeeCode.BAD_FORMAT, TeeCode.SECURITY}


@pytest.mark.case("N-11", expect="tag: 0xffff000f; IV: 0xffff0005 or 0xffff000f from the TEE")
@pytest.mark.parametrize("back", [0, 20], ids=["tag", "IV"])
def test_an_encrypted_enclave_with_a_bit_of_tag_or_iv_flipped_does_nothing(
    target: Target, by: Deadline, back: int
) -> None:
    sealed = sealed_for(target)
    put(target, SAMPLE, sealed, by)
    before, since = count_up(target, by), now()
    put(target, SAMPLE, flipped(sealed, before_the_payload(sealed) - back), by)

    code, origin = refusal(target, SAMPLE, by)

    assert origin == TeeOrigin.TEE
    assert code in ({TeeCode.SECURITY} if back == 0 else {TeeCode.SECURITY, TeeCode.BAD_FORMAT})
    assert secure_log_says(target, f"{NOT_COPIED}|{NOT_ELF}", since=since, by=by)
    put(target, SAMPLE, sealed, by)
    assert count_up(target, by) == before + 1
