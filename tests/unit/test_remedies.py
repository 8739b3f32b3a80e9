"""What a box lacks comes with what would bring it."""

from __future__ import annotations

import pytest

from harness.capability import Capability
from harness.remedies import remedy


def test_each_missing_part_of_a_firmware_is_named_with_what_brings_it() -> None:
    told = remedy([Capability.PKCS11, Capability.ATTESTATION]).splitlines()[1:]

    assert [line.split(":")[0].strip() for line in told] == ["attestation", "pkcs11"]
    assert "CFG_ATTESTATION_PTA=y" in told[0]
    assert "CFG_PKCS11_TA=y" in told[1]


@pytest.mark.parametrize("capability", [c for c in Capability if c is not Capability.RESTORE])
def test_every_capability_that_can_be_brought_has_a_remedy(capability: Capability) -> None:
    assert remedy([capability]).splitlines()[1].startswith(f"  {capability.value}: ")


def test_nothing_is_promised_where_nothing_helps() -> None:
    assert remedy([Capability.RESTORE]) == ""
