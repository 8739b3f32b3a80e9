"""The key that a box attests with: it lives as long as the box's secure storage, no longer."""

from __future__ import annotations

import os

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.target import Target
from provisioning.evidence import AttestationKey, Evidence
from provisioning.policy import Check, Policy
from provisioning.trustbox import TrustBox
from provisioning.verdict import Outcome, verify

pytestmark = [
    pytest.mark.needs(
        Capability.AGENT, Capability.ATTESTATION, Capability.GOLDEN, Capability.POWER
    ),
    pytest.mark.integrity,
    pytest.mark.timeout(300),
]


@pytest.fixture
def by() -> Deadline:
    """Longer than usual: the box boots twice and makes two RSA keys."""
    return Deadline.after(240)


def cut_power(target: Target, by: Deadline) -> None:
    target.rig.off()
    target.rig.on(by=by)


def attested(box: TrustBox, by: Deadline) -> Evidence:
    return box.integrity.attest(os.urandom(32), by=by)


def policy(target: Target, evidence: Evidence, key: AttestationKey) -> Policy:
    return Policy(
        nonce=evidence.nonce,
        tee_memory=target.firmware.golden_tee,
        level=target.evidence_level,
        key=key,
    )


@pytest.mark.case("N-22", expect="pin mismatch, no silent enrolment")
def test_a_power_cut_keeps_the_key_and_wiped_storage_is_refused_for_another(
    box: TrustBox, by: Deadline
) -> None:
    """In one test, because each key that a box makes costs seconds."""
    target = box.target
    pinned = attested(box, by).key
    cut_power(target, by)
    kept = attested(box, by)

    assert verify(kept, policy(target, kept, pinned)).ok

    storage = target.layout.storage_root
    target.shell.run("sh", "-c", 'rm -rf -- "$1"/* && sync', "sh", storage, by=by)
    cut_power(target, by)
    renewed = attested(box, by)
    verdict = verify(renewed, policy(target, renewed, pinned))

    assert verdict[Check.KEY].outcome is Outcome.FAIL
    assert not verdict.ok
