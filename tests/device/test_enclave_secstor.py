"""Enclaves installed into secure storage by the TEE itself, which looks there before the files."""

from __future__ import annotations

from uuid import UUID

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import MissingCapability, TeeRefused
from harness.target import Target
from harness.tee import TeeClient
from harness.tee_codes import TeeCode, TeeOrigin
from harness.tee_params import Memref
from provisioning.enclave_make import resigned_ta
from provisioning.trustbox import TrustBox
from tests.device.enclaves import box_signer, count_up, sealed_for
from tests.device.sample import build_sample, code_at, flipped

pytestmark = [
    pytest.mark.enclave,
    pytest.mark.needs(Capability.TEE, Capability.AGENT, Capability.TA_LOAD, Capability.TA_DEVKIT),
]

MANAGEMENT = UUID("6e256cba-fc4d-4941-ad09-2ca1860342dd")
"""OP-TEE's pta_secstor_ta_mgmt.h; its one command takes a signed TA."""


def bootstrap(target: Target, data: bytes, by: Deadline) -> tuple[int, int]:
    """Code and origin of installing it. Skips where the TEE does not do that."""
    try:
        with TeeClient.open(target, by=by) as client:
            session = client.open_session(MANAGEMENT, by=by)
            result = session.invoke(0, Memref(data), by=by)
            return result.code, result.origin
    except TeeRefused as refused:
        if refused.code == TeeCode.ITEM_NOT_FOUND:
            raise MissingCapability(target.name, ["secstor TA management"]) from refused
        raise


@pytest.mark.case("N-15", expect="0xffff000f flipped or encrypted, 0xffff0003 older, from the PTA")
@pytest.mark.needs(Capability.TA_ENCRYPTION)
def test_secure_storage_takes_no_spoilt_older_or_encrypted_enclave(
    box: TrustBox, by: Deadline
) -> None:
    """What is in secure storage stays as it was, and runs."""
    target, signer = box.target, box_signer(box.target)
    older = build_sample(target)
    good = resigned_ta(older, signer=signer, version=3, by=by)
    assert bootstrap(target, good, by)[0] == TeeCode.SUCCESS
    assert count_up(target, by) == 1  # no file is there: it came out of secure storage

    wrong = {
        "flipped in the header": (flipped(good, 0), TeeCode.SECURITY),
        "flipped in the signature": (flipped(good, 60), TeeCode.SECURITY),
        "flipped in the code": (flipped(good, code_at(good)), TeeCode.SECURITY),
        "older": (older, TeeCode.ACCESS_CONFLICT),
        "encrypted": (sealed_for(target), TeeCode.SECURITY),
    }
    answers = {name: bootstrap(target, data, by) for name, (data, _) in wrong.items()}

    pta = TeeOrigin.TRUSTED_APP
    assert answers == {name: (code, pta) for name, (_, code) in wrong.items()}
    assert count_up(target, by) == 2
