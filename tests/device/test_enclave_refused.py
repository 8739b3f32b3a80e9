"""OP-TEE loads no enclave but the one that was signed for it, and nothing of it happens.

One box serves all of these: each puts the good enclave back, and compares with what it found.
Codes and log lines are those of OP-TEE 4.5 and newer, which looks at the first page of a payload
before it knows the hash of all of it (device-facts 3.3).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.target import Target
from harness.tee_codes import TeeCode, TeeOrigin
from provisioning.enclave_image import payload
from provisioning.enclave_make import signed_ta
from provisioning.sample_enclave import SAMPLE
from provisioning.trustbox import TrustBox
from tests.device.enclaves import (
    NOBODY,
    NOT_COPIED,
    NOT_ELF,
    NOT_OPENED,
    Stranger,
    count_up,
    now,
    put,
    refusal,
    secure_log_says,
    take_away,
)
from tests.device.sample import (
    DIGEST,
    SHDR,
    SIGNATURE_AT,
    build_sample,
    code_at,
    flipped,
    signature_size,
    signed_by_another_key,
)

pytestmark = [
    pytest.mark.enclave,
    pytest.mark.needs(Capability.TEE, Capability.AGENT, Capability.TA_LOAD, Capability.TA_DEVKIT),
]

BAD_FORMAT, SECURITY = TeeCode.BAD_FORMAT, TeeCode.SECURITY


@pytest.fixture(scope="session")
def sample(target: Target) -> bytes:
    return build_sample(target)


@pytest.fixture(autouse=True)
def empty_place(module_box: TrustBox, target: Target) -> Iterator[None]:
    """Nothing is left under the sample's name, nor under the other one."""
    yield
    take_away(target, SAMPLE, NOBODY)


def elf_at(data: bytes) -> int:
    return SIGNATURE_AT + signature_size(data) + SHDR


def rodata_at(data: bytes) -> int:
    """A place in the enclave's constants: its own description, which it never runs."""
    return data.index(b"TrustBox sample enclave")


def with_type(data: bytes, kind: int) -> bytes:
    return data[:4] + struct.pack("<I", kind) + data[8:]


def refused(
    target: Target,
    good: bytes,
    spoilt: dict[str, bytes],
    by: Deadline,
    line: str,
    codes: frozenset[TeeCode] = frozenset({SECURITY}),
) -> None:
    """Each spoilt one is refused by the TEE with such a code and line, and none counted up."""
    put(target, SAMPLE, good, by)
    before = count_up(target, by)
    for name, data in spoilt.items():
        since = now()
        put(target, SAMPLE, data, by)

        code, origin = refusal(target, SAMPLE, by)

        assert (name, code in codes, origin) == (name, True, TeeOrigin.TEE), hex(code)
        assert secure_log_says(target, line, since=since, by=by), name
    put(target, SAMPLE, good, by)
    assert count_up(target, by) == before + 1


@pytest.mark.case("N-01", expect="0xffff000f from the TEE")
def test_an_enclave_with_a_byte_of_its_header_flipped_does_nothing(
    target: Target, sample: bytes, by: Deadline
) -> None:
    places = {"magic": 0, "algorithm": 12, "hash": DIGEST.start, "signature": SIGNATURE_AT}
    spoilt = {name: flipped(sample, at) for name, at in places.items()}

    refused(target, sample, spoilt, by, NOT_OPENED)


@pytest.mark.case("N-02", expect="0xffff000f from the TEE")
def test_an_enclave_signed_by_somebody_else_does_nothing(
    target: Target, sample: bytes, by: Deadline
) -> None:
    spoilt = {
        "as long as the box's": signed_by_another_key(sample),
        "2048 bits": signed_ta(payload(sample), uuid=SAMPLE, signer=Stranger(), by=by),
    }

    refused(target, sample, spoilt, by, NOT_OPENED)


@pytest.mark.case("N-03", expect="0xffff000f from the TEE")
def test_an_enclave_a_byte_short_or_long_does_nothing(
    target: Target, sample: bytes, by: Deadline
) -> None:
    refused(target, sample, {"short": sample[:-1], "long": sample + b"\0"}, by, NOT_OPENED)


@pytest.mark.case("N-04", expect="0xffff000f from the TEE")
def test_an_enclave_under_another_name_is_not_loaded(
    target: Target, sample: bytes, by: Deadline
) -> None:
    put(target, SAMPLE, sample, by)
    before, since = count_up(target, by), now()
    put(target, NOBODY, sample, by)

    assert refusal(target, NOBODY, by) == (SECURITY, TeeOrigin.TEE)
    assert secure_log_says(target, f"{NOT_OPENED}.*{NOBODY}", since=since, by=by)
    assert count_up(target, by) == before + 1


@pytest.mark.case("N-05", expect="0xffff0005 from the TEE; 0xffff000f where it reads all first")
def test_an_enclave_that_is_no_elf_file_any_more_does_nothing(
    target: Target, sample: bytes, by: Deadline
) -> None:
    places = {"magic": 0, "class": 4, "machine": 18}
    spoilt = {name: flipped(sample, elf_at(sample) + at) for name, at in places.items()}

    refused(target, sample, spoilt, by, NOT_ELF, frozenset({BAD_FORMAT, SECURITY}))


@pytest.mark.case("N-06", expect="0xffff000f from the TEE")
def test_an_enclave_with_a_byte_of_its_contents_flipped_does_nothing(
    target: Target, sample: bytes, by: Deadline
) -> None:
    places = {"code": code_at(sample), "constants": rodata_at(sample), "last": len(sample) - 1}
    spoilt = {name: flipped(sample, at) for name, at in places.items()}

    refused(target, sample, spoilt, by, NOT_COPIED)


@pytest.mark.case("N-07", expect="0xffff000f from the TEE")
def test_an_elf_file_without_a_header_is_not_loaded(
    target: Target, sample: bytes, by: Deadline
) -> None:
    refused(target, sample, {"bare ELF": payload(sample)}, by, NOT_OPENED)


@pytest.mark.case("N-07", expect="0xffff000c (no memory of no bytes is lent to it), or 8, or f")
def test_an_empty_file_is_not_loaded(target: Target, sample: bytes, by: Deadline) -> None:
    codes = frozenset({TeeCode.OUT_OF_MEMORY, TeeCode.ITEM_NOT_FOUND, SECURITY})

    refused(target, sample, {"empty": b""}, by, NOT_OPENED, codes)


@pytest.mark.case("N-09", expect="0xffff000f; 0xffff000c for a subkey too large to be read")
def test_an_enclave_that_says_it_is_of_another_type_does_nothing(
    target: Target, sample: bytes, by: Deadline
) -> None:
    kinds = {"bare": 0, "encrypted": 2, "subkey": 3}
    spoilt = {name: with_type(sample, kind) for name, kind in kinds.items()}
    codes = frozenset({SECURITY, TeeCode.OUT_OF_MEMORY})

    refused(target, sample, spoilt, by, NOT_OPENED, codes)


@pytest.mark.case("N-12", expect="0xffff0008 from the TEE")
def test_an_enclave_that_is_not_installed_is_not_found(target: Target, by: Deadline) -> None:
    since = now()

    assert refusal(target, NOBODY, by) == (TeeCode.ITEM_NOT_FOUND, TeeOrigin.TEE)
    assert secure_log_says(target, f"{NOT_OPENED}.*{NOBODY}", since=since, by=by)
