"""What the tests of promises that only the emulator makes have in common."""

from __future__ import annotations

import pytest

from emulator.rig import EmulatorRig
from provisioning.trustbox import TrustBox
from tests.emulator.bench import bench, presented  # noqa: F401 - fixtures


@pytest.fixture
def rig(box: TrustBox) -> EmulatorRig:
    """The rig of the box under test."""
    rig = box.target.rig
    if not isinstance(rig, EmulatorRig):
        pytest.skip("the box under test is not an emulated one that this process holds")
    return rig
