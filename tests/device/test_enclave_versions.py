"""Rollback of enclaves: a box that has loaded a version loads none before it, and why that ends."""

from __future__ import annotations

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.tee_codes import TeeCode, TeeOrigin
from provisioning.enclave_make import resigned_ta
from provisioning.sample_enclave import SAMPLE
from provisioning.trustbox import TrustBox
from tests.device.enclaves import (
    NOT_COPIED,
    box_signer,
    count_up,
    now,
    put,
    refusal,
    secure_log_says,
)
from tests.device.sample import build_sample

pytestmark = [
    pytest.mark.enclave,
    pytest.mark.needs(Capability.TEE, Capability.AGENT, Capability.TA_LOAD, Capability.TA_DEVKIT),
]

ACCESS_CONFLICT = TeeCode.ACCESS_CONFLICT


def version(box: TrustBox, number: int, by: Deadline) -> bytes:
    return resigned_ta(
        build_sample(box.target), signer=box_signer(box.target), version=number, by=by
    )


@pytest.mark.case("N-08", expect="0xffff0003 from the TEE")
def test_an_enclave_older_than_one_that_was_loaded_does_nothing(
    box: TrustBox, by: Deadline
) -> None:
    target, older, newer = box.target, version(box, 1, by), version(box, 2, by)
    put(target, SAMPLE, older, by)
    count_up(target, by)
    put(target, SAMPLE, newer, by)
    before, since = count_up(target, by), now()
    put(target, SAMPLE, older, by)

    assert refusal(target, SAMPLE, by) == (ACCESS_CONFLICT, TeeOrigin.TEE)
    assert secure_log_says(target, NOT_COPIED, since=since, by=by)
    put(target, SAMPLE, newer, by)
    assert count_up(target, by) == before + 1


def test_a_newer_enclave_that_was_never_loaded_keeps_no_older_one_out(
    box: TrustBox, by: Deadline
) -> None:
    put(box.target, SAMPLE, version(box, 2, by), by)
    put(box.target, SAMPLE, version(box, 1, by), by)

    assert count_up(box.target, by) == 1


@pytest.mark.case("N-08", expect="0xffff0003 from the TEE after storage was wiped as well")
@pytest.mark.needs(Capability.POWER)
@pytest.mark.weakness(
    "the versions that were loaded are kept in secure storage, and who can write the disk can wipe"
    " it: the older enclave loads again",
    lacks=Capability.STORAGE_ROLLBACK_PROTECTED,
)
def test_wiping_secure_storage_does_not_let_an_older_enclave_in(
    box: TrustBox, by: Deadline
) -> None:
    target = box.target
    put(target, SAMPLE, version(box, 2, by), by)
    count_up(target, by)
    put(target, SAMPLE, version(box, 1, by), by)
    target.shell.run(
        "sh", "-c", 'rm -rf -- "$1"/* && sync', "sh", target.layout.storage_root, by=by
    )
    target.rig.off()
    target.rig.on(by=by)

    assert refusal(target, SAMPLE, by) == (ACCESS_CONFLICT, TeeOrigin.TEE)
