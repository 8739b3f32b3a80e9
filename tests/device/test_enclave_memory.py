"""Loading an enclave takes secure memory, and ending it gives all of it back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import TeeRefused
from harness.target import Target
from harness.tee import TeeClient
from provisioning.enclave import EnclaveSession
from provisioning.sample_enclave import SAMPLE
from provisioning.tee_memory import secure_memory
from provisioning.trustbox import TrustBox
from tests.device.enclaves import put, take_away
from tests.device.sample import build_sample, code_at, flipped

pytestmark = [
    pytest.mark.enclave,
    pytest.mark.timeout(600),
    pytest.mark.needs(
        Capability.TEE,
        Capability.AGENT,
        Capability.TA_LOAD,
        Capability.TA_DEVKIT,
        Capability.TEE_STATS,
    ),
]

SAMPLED, ALL = 15, 200
EACH_SECONDS = 3.0
"""For the deadline alone: one takes about 0.35 s on an emulated box that has a processor."""


@pytest.fixture(autouse=True)
def empty_place(module_box: TrustBox, target: Target) -> Iterator[None]:
    yield
    take_away(target, SAMPLE)


def in_use(target: Target, by: Deadline) -> dict[str, int]:
    """Bytes by pool."""
    return {pool.name: pool.allocated for pool in secure_memory(target, by=by)}


def load(client: TeeClient, rounds: int, by: Deadline) -> int:
    """Open and close so many times; how many were refused."""
    refused = 0
    for _ in range(rounds):
        try:
            client.open_session(SAMPLE, by=by).close()
        except TeeRefused:
            refused += 1
    return refused


def test_an_open_enclave_takes_its_memory_and_gives_it_back(target: Target, by: Deadline) -> None:
    enclaves, data = EnclaveSession(target), build_sample(target)
    enclaves.install(SAMPLE, data, by=by)
    before = in_use(target, by)
    with enclaves.open(SAMPLE, by=by):
        during = in_use(target, by)

    grown = sum(during.values()) - sum(before.values())
    assert grown > len(data) // 2  # its code and data, without symbols and headers
    assert in_use(target, by) == before


@pytest.mark.parametrize("rounds", [SAMPLED, pytest.param(ALL, marks=pytest.mark.long)])
@pytest.mark.parametrize("good", [True, False], ids=["loaded", "refused"])
def test_no_memory_is_lost_over_many_rounds(target: Target, rounds: int, good: bool) -> None:
    """Neither by enclaves that ran and ended, nor by those that were refused in the middle."""
    by = Deadline.after(60 + EACH_SECONDS * rounds)
    data = build_sample(target)
    put(target, SAMPLE, data if good else flipped(data, code_at(data)), by)
    with TeeClient.open(target, by=by) as client:
        load(client, 1, by)
    before = in_use(target, by)
    with TeeClient.open(target, by=by) as client:
        refused = load(client, rounds, by)

    assert refused == (0 if good else rounds)
    assert in_use(target, by) == before
