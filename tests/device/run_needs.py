"""What a box must be able to do for a whole provisioning run, by the example plan, and back."""

from __future__ import annotations

import pytest

from harness.capability import Capability

A_RUN_NEEDS = pytest.mark.needs(
    Capability.PKCS11,
    Capability.PKCS11_REMOTE,
    Capability.ATTESTATION,
    Capability.TA_LOAD,
    Capability.TA_DEVKIT,
    Capability.GOLDEN,
    Capability.RESTORE,
)
