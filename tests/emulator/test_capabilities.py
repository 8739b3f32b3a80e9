"""What the emulated box lacks is known, so that no test may be skipped on it unnoticed."""

from __future__ import annotations

from harness.capability import Capability
from harness.target import Target


def test_an_emulated_box_has_every_capability_but_one(target: Target) -> None:
    """QEMU's machine has no eMMC, so no RPMB. No test needs it: weaknesses are bound to it."""
    assert target.missing(Capability) == [Capability.STORAGE_ROLLBACK_PROTECTED]
