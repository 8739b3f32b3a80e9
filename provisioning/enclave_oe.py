"""Open Enclave host programs: one more way to load an enclave, on boxes that can.

Such a program calls back into the normal world through OP-TEE (ocalls), which needs Microsoft's
fork of OP-TEE, of its kernel driver and of libteec (device-facts 2); no upstream OP-TEE runs them.
Open Enclave says OE_FAILURE whatever the TEE answered, so when a program ends badly the enclave is
opened from here, and the TEE's own code told.
"""

from __future__ import annotations

from uuid import UUID

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import CommandFailed, DeviceRefused, TeeRefused
from harness.target import Completed
from provisioning.enclave import EnclaveSession
from provisioning.trustbox import TrustBox

FAILED = (b"OE_FAILURE", b"oe_create_enclave")
"""What Open Enclave's loader and its samples say when no enclave was made."""


def run_host(box: TrustBox, uuid: UUID, *argv: str, by: Deadline) -> Completed:
    """Run the host program ``argv`` of the enclave on the box, and wait for its end.

    Raises MissingCapability where the box has no such libteec; DeviceRefused when the program says
    that it got no enclave, with what the TEE itself says of that; CommandFailed otherwise.
    """
    box.target.require(Capability.OE_HOST_RPC)
    done = box.target.shell.run(*argv, by=by, check=False)
    said = done.stdout + done.stderr
    if done.status and any(sign in said for sign in FAILED):
        why = explained(box.enclave, uuid, by=by)
        raise DeviceRefused(f"{argv[0]} got no enclave (OE_FAILURE); {why}")
    if done.status:
        raise CommandFailed(argv, done.status, done.stdout, done.stderr)
    return done


def explained(enclaves: EnclaveSession, uuid: UUID, *, by: Deadline) -> str:
    """Why a loader cannot have this enclave: a sentence with the TEE's code and origin."""
    try:
        with enclaves.open(uuid, by=by):
            return f"the TEE opens {uuid}, so the program itself is at fault"
    except TeeRefused as refused:
        return f"the TEE says why: {refused.message}"
