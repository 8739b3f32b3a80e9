"""Open Enclave's host programs say OE_FAILURE for everything; what the TEE says is found out."""

from __future__ import annotations

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import MissingCapability
from provisioning.enclave_oe import explained, run_host
from provisioning.sample_enclave import SAMPLE
from provisioning.trustbox import TrustBox
from tests.device.enclaves import NOBODY, put
from tests.device.sample import build_sample, flipped

pytestmark = [
    pytest.mark.enclave,
    pytest.mark.needs(Capability.TEE, Capability.AGENT, Capability.TA_LOAD, Capability.TA_DEVKIT),
]


def test_the_tee_s_own_reason_is_told(box: TrustBox, by: Deadline) -> None:
    put(box.target, SAMPLE, flipped(build_sample(box.target), 0), by)

    assert "0xffff000f" in explained(box.enclave, SAMPLE, by=by)
    assert "0xffff0008" in explained(box.enclave, NOBODY, by=by)


def test_a_good_enclave_leaves_the_program_at_fault(box: TrustBox, by: Deadline) -> None:
    put(box.target, SAMPLE, build_sample(box.target), by)

    assert "the program itself" in explained(box.enclave, SAMPLE, by=by)


def test_a_box_that_cannot_run_one_says_what_it_lacks(box: TrustBox, by: Deadline) -> None:
    """Whether a box has what it takes is looked up first: nothing runs on one that has not."""
    if Capability.OE_HOST_RPC in box.target.capabilities:
        pytest.skip("this box can run them, and there is no Open Enclave program here to run")
    with pytest.raises(MissingCapability) as caught:
        run_host(box, SAMPLE, "/bin/touch", "/run/it-ran", by=by)

    assert caught.value.missing == ("oe-host-rpc",)
    assert box.target.shell.run("test", "-e", "/run/it-ran", by=by, check=False).status == 1
