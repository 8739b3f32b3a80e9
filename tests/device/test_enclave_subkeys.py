"""Keys that may sign enclaves in a name space of their own, and nothing outside of it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.target import Target
from harness.tee_codes import TeeCode, TeeOrigin
from provisioning.enclave_image import payload
from provisioning.enclave_make import Chain, child_uuid, signed_subkey, signed_ta
from provisioning.trustbox import TrustBox
from tests.device.enclaves import (
    NOBODY,
    NOT_OPENED,
    Stranger,
    box_signer,
    count_up,
    now,
    put,
    refusal,
    secure_log_says,
    take_away,
)
from tests.device.sample import build_sample

pytestmark = [
    pytest.mark.enclave,
    pytest.mark.needs(
        Capability.TEE,
        Capability.AGENT,
        Capability.TA_LOAD,
        Capability.TA_DEVKIT,
        Capability.TA_ENCRYPTION,  # as old as subkeys are not, but no box without it has them
    ),
]

SPACE = UUID("f1a4a2d8-2b0e-4f0c-9d3a-0b8f1f3c7a55")
APP = child_uuid(SPACE, "app")
DEEP = child_uuid(APP, "deep")
VENDOR = Stranger()


@pytest.fixture(autouse=True)
def empty_place(module_box: TrustBox, target: Target) -> Iterator[None]:
    yield
    take_away(target, APP, DEEP, NOBODY)


def vendor_subkey(target: Target, by: Deadline, *, version: int = 0, max_depth: int = 0) -> bytes:
    return signed_subkey(
        VENDOR.public_key,
        uuid=SPACE,
        signer=box_signer(target),
        name_size=16,
        version=version,
        max_depth=max_depth,
        by=by,
    )


def app_by_vendor(target: Target, subkey: bytes, by: Deadline) -> bytes:
    elf = payload(build_sample(target))
    return signed_ta(elf, uuid=APP, signer=VENDOR, chain=Chain(subkey, "app"), by=by)


def deep_app(target: Target, by: Deadline, *, max_depth: int) -> bytes:
    """An enclave below a subkey of the vendor's, who is allowed ``max_depth`` of them."""
    chain = Chain(vendor_subkey(target, by, max_depth=1), "app")
    lower = signed_subkey(
        VENDOR.public_key, uuid=APP, signer=VENDOR, name_size=16, chain=chain, by=by
    )
    upper = vendor_subkey(target, by, max_depth=max_depth)  # as long: no tool makes 0 below 0
    lower = upper + lower[len(upper) :]
    elf = payload(build_sample(target))
    return signed_ta(elf, uuid=DEEP, signer=VENDOR, chain=Chain(lower, "deep"), by=by)


@pytest.mark.case("N-16", expect="0xffff000f from the TEE")
def test_a_subkey_signs_no_enclave_outside_of_its_name_space(target: Target, by: Deadline) -> None:
    subkey = vendor_subkey(target, by)
    put(target, APP, app_by_vendor(target, subkey, by), by)
    before, since = count_up(target, by, APP), now()
    elf = payload(build_sample(target))
    outside = signed_ta(elf, uuid=NOBODY, signer=VENDOR, by=by)
    put(target, NOBODY, subkey + b"app".ljust(16, b"\0") + outside, by)

    assert refusal(target, NOBODY, by) == (TeeCode.SECURITY, TeeOrigin.TEE)
    assert secure_log_says(target, f"{NOT_OPENED}.*{NOBODY}", since=since, by=by)
    assert count_up(target, by, APP) == before + 1


@pytest.mark.case("N-16", expect="0xffff000f from the TEE")
def test_a_subkey_hands_on_no_more_than_its_depth(target: Target, by: Deadline) -> None:
    put(target, DEEP, deep_app(target, by, max_depth=1), by)
    before, since = count_up(target, by, DEEP), now()
    put(target, DEEP, deep_app(target, by, max_depth=0), by)

    assert refusal(target, DEEP, by) == (TeeCode.SECURITY, TeeOrigin.TEE)
    assert secure_log_says(target, f"{NOT_OPENED}.*{DEEP}", since=since, by=by)
    put(target, DEEP, deep_app(target, by, max_depth=1), by)
    assert count_up(target, by, DEEP) == before + 1


@pytest.mark.case("N-17", expect="0xffff0003 or 0xffff000f from the TEE")
@pytest.mark.weakness("a subkey's version is never read, so an older one goes on", below="4.11")
def test_an_older_subkey_does_not_sign_after_a_newer_one_did(target: Target, by: Deadline) -> None:
    put(target, APP, app_by_vendor(target, vendor_subkey(target, by, version=2), by), by)
    count_up(target, by, APP)
    put(target, APP, app_by_vendor(target, vendor_subkey(target, by, version=1), by), by)

    code, origin = refusal(target, APP, by)
    assert code in {TeeCode.ACCESS_CONFLICT, TeeCode.SECURITY}
    assert origin == TeeOrigin.TEE
