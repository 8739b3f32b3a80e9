"""The emulated box lacks nothing, so no test of this project may be skipped on it unnoticed."""

from __future__ import annotations

from harness.capability import Capability
from harness.target import Target


def test_an_emulated_box_has_every_capability(target: Target) -> None:
    assert target.missing(Capability) == []
