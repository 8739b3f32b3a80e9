"""The heap of the PKCS#11 TA is full: each verb says so, how much is there, and what sets it."""

from __future__ import annotations

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import TokenRefused
from provisioning.token_secrets import LARGEST_DATA
from provisioning.trustbox import TrustBox

pytestmark = pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE)


@pytest.mark.fault(
    "Token",
    "the token has no memory left for one more object",
    comes="TokenRefused CKR_DEVICE_MEMORY, status 6, which names CFG_PKCS11_TA_HEAP_SIZE and how"
    " many objects are there, for keys and for data alike",
    then="erase what is not needed, or have a firmware built with a larger heap",
)
def test_a_full_token_names_the_heap_and_how_many_objects_are_there(
    open_box: TrustBox, by: Deadline
) -> None:
    token, kept = open_box.keys.token, 0
    with pytest.raises(TokenRefused) as caught:
        while True:
            token.store_data(f"full-{kept}", bytes(LARGEST_DATA), by=by)
            kept += 1

    assert caught.value.ckr == "CKR_DEVICE_MEMORY"
    assert "CFG_PKCS11_TA_HEAP_SIZE" in caught.value.hint
    assert f"{kept} objects are in it" in caught.value.hint
