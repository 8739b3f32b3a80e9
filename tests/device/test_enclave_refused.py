"""OP-TEE loads no enclave but the one that was signed for it, and nothing of it happens.

One box serves all of these: each puts the good enclave back, and compares with what it found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import TeeRefused
from harness.target import Target
from harness.tee_codes import TeeCode, TeeOrigin
from provisioning.enclave import EnclaveSession
from provisioning.sample_enclave import SAMPLE, SampleEnclave
from tests.device.sample import (
    DIGEST,
    SIGNATURE_AT,
    build_sample,
    code_at,
    flipped,
    signed_by_another_key,
)

pytestmark = pytest.mark.needs(
    Capability.TEE, Capability.AGENT, Capability.TA_LOAD, Capability.TA_DEVKIT
)

NOBODY = UUID("00000000-1111-4222-8333-444444444444")

SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "flipped in the magic": lambda data: flipped(data, 0),
    "flipped in the digest": lambda data: flipped(data, DIGEST.start),
    "flipped in the signature": lambda data: flipped(data, SIGNATURE_AT),
    "flipped in the code": lambda data: flipped(data, code_at(data)),
    "one byte short": lambda data: data[:-1],
    "one byte more": lambda data: data + b"\0",
    "signed by another key": signed_by_another_key,
}


@pytest.fixture(scope="session")
def sample(target: Target) -> bytes:
    return build_sample(target)


@pytest.fixture
def enclave(target: Target) -> Iterator[EnclaveSession]:
    """An empty place for the sample, and for one under another name."""
    enclaves = EnclaveSession(target)
    yield enclaves
    paths = (enclaves.path(SAMPLE), enclaves.path(NOBODY))
    target.shell.run("rm", "-f", "--", *paths, by=Deadline.after(30))


def put(target: Target, uuid: UUID, data: bytes, by: Deadline) -> None:
    """Past the checks of ``install``, as somebody with root on the box would."""
    target.shell.write(EnclaveSession(target).path(uuid), data, by=by, mode=0o444)


def refusal(enclave: EnclaveSession, uuid: UUID, by: Deadline) -> tuple[int, int]:
    """The TEE's code and origin."""
    with pytest.raises(TeeRefused) as caught, enclave.open(uuid, by=by):
        pass
    return caught.value.code, caught.value.origin


def count_up(enclave: EnclaveSession, by: Deadline) -> int:
    with enclave.open(SAMPLE, by=by) as session:
        return SampleEnclave(session).increment(by=by)


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_a_spoilt_enclave_is_not_loaded_and_does_nothing(
    target: Target,
    enclave: EnclaveSession,
    sample: bytes,
    by: Deadline,
    spoil: Callable[[bytes], bytes],
) -> None:
    put(target, SAMPLE, sample, by)
    before = count_up(enclave, by)
    put(target, SAMPLE, spoil(sample), by)

    assert refusal(enclave, SAMPLE, by) == (TeeCode.SECURITY, TeeOrigin.TEE)

    put(target, SAMPLE, sample, by)
    assert count_up(enclave, by) == before + 1


def test_an_enclave_under_another_name_is_not_loaded(
    target: Target, enclave: EnclaveSession, sample: bytes, by: Deadline
) -> None:
    put(target, NOBODY, sample, by)

    assert refusal(enclave, NOBODY, by) == (TeeCode.SECURITY, TeeOrigin.TEE)


def test_an_enclave_that_is_not_installed_is_not_found(
    enclave: EnclaveSession, by: Deadline
) -> None:
    assert refusal(enclave, NOBODY, by) == (TeeCode.ITEM_NOT_FOUND, TeeOrigin.TEE)
