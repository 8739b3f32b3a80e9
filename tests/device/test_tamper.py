"""A byte that changes in live secure memory is noticed by the next attestation, and named.

The change comes from outside of both worlds, so nothing on the box could have prevented it. These
share the box: each puts back what it changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import RigError
from harness.tamper import CorePart
from harness.target import Target
from provisioning.enclave_golden import golden_ta
from provisioning.policy import Check, Policy
from provisioning.sample_enclave import SAMPLE
from provisioning.trustbox import TrustBox
from provisioning.verdict import Verdict, verify
from tests.device.sample import build_sample
from tests.device.tampering import spare_bits, tamper_of, tee_at_work

pytestmark = [
    pytest.mark.needs(
        Capability.TAMPER,
        Capability.AGENT,
        Capability.ATTESTATION,
        Capability.GOLDEN,
        Capability.PKCS11,
    ),
    pytest.mark.integrity,
    pytest.mark.timeout(180),
]


@pytest.fixture
def by() -> Deadline:
    """Longer than usual: the box is stopped and started many times."""
    return Deadline.after(150)


@pytest.fixture
def sample(target: Target, by: Deadline) -> Iterator[bytes]:
    """The sample enclave, on the box."""
    box, data = TrustBox(target), build_sample(target)
    box.enclave.install(SAMPLE, data, by=by)
    yield data
    box.enclave.remove(SAMPLE, by=by)


def judged(target: Target, by: Deadline, enclave: bytes | None = None) -> Verdict:
    nonce = os.urandom(32)
    evidence = TrustBox(target).integrity.attest(nonce, enclave=SAMPLE if enclave else None, by=by)
    policy = Policy(nonce=nonce, tee_memory=target.firmware.golden_tee)
    if enclave is not None:
        policy = replace(policy, enclave=SAMPLE, enclave_memory=golden_ta(enclave))
    return verify(evidence, policy)


def refused(verdict: Verdict) -> set[Check]:
    return {finding.check for finding in verdict.refusals}


@pytest.mark.parametrize("part", list(CorePart), ids=lambda part: part.value)
def test_a_changed_bit_of_the_core_is_named_until_it_is_put_back(
    target: Target, by: Deadline, part: CorePart
) -> None:
    with tee_at_work(target, by) as busy:
        with tamper_of(target).core(part, busy=busy, by=by):
            while_changed = judged(target, by)

        assert refused(while_changed) == {Check.TEE_MEMORY}
        assert judged(target, by).ok


@pytest.mark.needs(Capability.TA_LOAD, Capability.TA_DEVKIT)
def test_a_changed_bit_of_a_running_enclave_is_named_until_it_is_put_back(
    target: Target, sample: bytes, by: Deadline
) -> None:
    page, bits = spare_bits(sample)
    # The session keeps the instance whose memory is changed.
    with (
        tee_at_work(target, by) as busy,
        TrustBox(target).enclave.open(SAMPLE, by=by),
    ):
        with tamper_of(target).enclave(page, bits[0], busy=busy, by=by):
            while_changed = judged(target, by, sample)

        assert refused(while_changed) == {Check.ENCLAVE_MEMORY}
        assert judged(target, by, sample).ok


def test_an_enclave_that_is_not_loaded_cannot_be_changed(target: Target, by: Deadline) -> None:
    with (
        tee_at_work(target, by) as busy,
        pytest.raises(RigError, match="no loaded enclave has that page"),
        tamper_of(target).enclave(os.urandom(4096), 0, busy=busy, by=by),
    ):
        pytest.fail("it was changed")
