"""A signed or encrypted enclave with any single byte changed never loads: positions at random.

`pytest --randomly-seed=N` with the seed of a failed run draws the same positions again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import TeeRefused
from harness.target import Target
from harness.tee import TeeClient
from harness.tee_codes import SUCCESS, TeeCode, TeeOrigin
from provisioning.sample_enclave import SAMPLE
from provisioning.trustbox import TrustBox
from tests.device.enclaves import before_the_payload, count_up, put, sealed_for, take_away
from tests.device.sample import build_sample

pytestmark = [
    pytest.mark.enclave,
    pytest.mark.timeout(600),
    pytest.mark.needs(Capability.TEE, Capability.AGENT, Capability.TA_LOAD, Capability.TA_DEVKIT),
]

IT_RAN = {SUCCESS, TeeCode.TARGET_DEAD}
"""Opened, or panicked: its code ran. Which of the other codes comes is up to the byte: the headers
are parsed before the hash of the whole is known, so that they may ask for anything that is refused
(ldelf/ta_elf.c: a segment over another is ACCESS_CONFLICT, a library that is not there
ITEM_NOT_FOUND); a panic of ldelf itself is GENERIC (ldelf_loader.c)."""
FLAGS_BACK = 28 + 8 - 1
"""From the tag's last byte back to the flags' first: over tag, IV and the two sizes."""
SAMPLED, ALL = 30, 200
EACH_SECONDS = 2.5
"""For the deadline alone: one takes 0.1 to 0.2 s on an emulated box that has a processor."""


@pytest.fixture(autouse=True)
def empty_place(module_box: TrustBox, target: Target) -> Iterator[None]:
    yield
    take_away(target, SAMPLE)


def changed(data: bytes, at: int) -> bytes:
    other = data[at] ^ random.randrange(1, 256)  # noqa: S311 - a test's choice, repeatable
    return data[:at] + bytes([other]) + data[at + 1 :]


def loaded_in_spite(target: Target, good: bytes, positions: list[int]) -> dict[int, str]:
    """The positions whose change the TEE did not refuse as it should; and what it said."""
    wrong, by = {}, Deadline.after(30 + EACH_SECONDS * len(positions))
    with TeeClient.open(target, by=by) as client:
        for at in positions:
            put(target, SAMPLE, changed(good, at), by)
            try:
                client.open_session(SAMPLE, by=by).close()
                code, origin = SUCCESS, int(TeeOrigin.TRUSTED_APP)
            except TeeRefused as refused:
                code, origin = refused.code, refused.origin
            if code in IT_RAN or origin != TeeOrigin.TEE:
                wrong[at] = f"0x{code:08x} from {origin}"
    return wrong


ROUNDS = [SAMPLED, pytest.param(ALL, marks=pytest.mark.long)]


@pytest.mark.parametrize("rounds", ROUNDS)
@pytest.mark.parametrize(
    "sealed",
    [False, pytest.param(True, marks=pytest.mark.needs(Capability.TA_ENCRYPTION))],
    ids=["signed", "encrypted"],
)
def test_an_enclave_with_any_byte_changed_never_loads(
    target: Target, rounds: int, sealed: bool
) -> None:
    """All kinds of places among them: half of the positions are in the headers' and first pages."""
    good = sealed_for(target) if sealed else build_sample(target)
    by = Deadline.after(60)
    put(target, SAMPLE, good, by)
    before = count_up(target, by)
    # What changing that one byte does has a test of its own, among the weaknesses.
    known = {before_the_payload(good) - FLAGS_BACK} if sealed else set()
    everywhere = [at for at in range(len(good)) if at not in known]
    half = rounds // 4
    front = [at for at in everywhere if at < 4096]
    positions = random.sample(front, half) + random.sample(everywhere, rounds // 2 - half)

    assert loaded_in_spite(target, good, positions) == {}
    by = Deadline.after(60)
    put(target, SAMPLE, good, by)
    assert count_up(target, by) == before + 1
