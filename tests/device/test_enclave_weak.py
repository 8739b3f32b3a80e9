"""What OP-TEE should refuse at load and, up to the version that is named, does not."""

from __future__ import annotations

import hashlib

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.tee_codes import TeeCode, TeeOrigin
from provisioning.enclave_format import MAGIC, SHDR, Algorithm, ImageType
from provisioning.enclave_image import payload
from provisioning.sample_enclave import SAMPLE
from provisioning.trustbox import TrustBox
from tests.device.enclaves import (
    NOBODY,
    before_the_payload,
    box_signer,
    count_up,
    put,
    refusal,
    sealed_for,
)
from tests.device.sample import build_sample, flipped

pytestmark = [
    pytest.mark.enclave,
    pytest.mark.needs(Capability.TEE, Capability.AGENT, Capability.TA_LOAD, Capability.TA_DEVKIT),
]


@pytest.mark.case("N-09", expect="0xffff000f from the TEE")
@pytest.mark.weakness("a well-signed image of type 0 loads under any name", below="4.11")
def test_a_well_signed_bare_enclave_is_not_loaded_under_any_name(
    box: TrustBox, by: Deadline
) -> None:
    target = box.target
    elf, signer = payload(build_sample(target)), box_signer(target)
    length = signer.public_key.key_size // 8
    shdr = SHDR.pack(MAGIC, int(ImageType.BARE), len(elf), int(Algorithm.PSS), 32, length)
    digest = hashlib.sha256(shdr + elf).digest()
    put(target, NOBODY, shdr + digest + signer.sign(digest, Algorithm.PSS, by=by) + elf, by)

    assert refusal(target, NOBODY, by) == (TeeCode.SECURITY, TeeOrigin.TEE)


@pytest.mark.case("N-10", expect="a refusal, and the TEE lives on")
@pytest.mark.needs(Capability.TA_ENCRYPTION)
@pytest.mark.weakness(
    "a flag that nobody has checked yet, class-wide key, hits an assertion of the core: whoever"
    " can write the TA directory can halt the TEE, and the box with it",
    below="4.11",
)
def test_an_enclave_for_a_class_key_that_the_box_has_not_is_refused_and_no_more(
    box: TrustBox, by: Deadline
) -> None:
    target = box.target
    sealed = sealed_for(target)
    flags = before_the_payload(sealed) - 28 - 8 + 1
    put(target, SAMPLE, flipped(sealed, flags), by)

    assert refusal(target, SAMPLE, by)[1] == TeeOrigin.TEE
    put(target, SAMPLE, sealed, by)
    assert count_up(target, by)
