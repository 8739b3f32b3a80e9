"""The emulated box lacks what QEMU cannot have, and nothing else: no test is skipped unnoticed."""

from __future__ import annotations

from harness.capability import Capability
from harness.target import Target

OF_HARDWARE = {Capability.STORAGE_ROLLBACK_PROTECTED, Capability.FIRMWARE_ROLLBACK_PROTECTED}
"""An RPMB and a non-volatile counter that keep what they count: QEMU's virt has neither."""
OF_A_FORK = {Capability.OE_HOST_RPC}
"""What upstream OP-TEE has not: see test_enclave_oe for what is said there."""


def test_an_emulated_box_has_every_capability_of_upstream_that_needs_no_hardware(
    target: Target,
) -> None:
    assert set(target.missing(Capability)) == OF_HARDWARE | OF_A_FORK
