"""Secure storage lies on the normal world's disk: what happens to it there is noticed, but for age.

The sealed counter of the sample enclave is what is read back; OP-TEE opens its storage anew for
each session, so nothing has to be booted in between.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import TeeRefused
from harness.target import Target
from harness.tee_codes import TeeCode, TeeOrigin
from provisioning.appraisal import Appraisal, appraise, followed
from provisioning.enclave_image import parse
from provisioning.policy import Check
from provisioning.policy_file import Pinned, PolicyEnclave, PolicyFile
from provisioning.sample_enclave import COUNTER_READ, SAMPLE, SampleEnclave
from provisioning.trustbox import TrustBox
from tests.device.key_parts import LABEL, SO, USER
from tests.device.policies import policy_for
from tests.device.sample import build_sample

pytestmark = [
    pytest.mark.integrity,
    pytest.mark.needs(
        Capability.AGENT, Capability.TA_LOAD, Capability.TA_DEVKIT, Capability.RESTORE
    ),
    pytest.mark.timeout(200),
]
REFUSALS = (TeeCode.CORRUPT_OBJECT, TeeCode.SECURITY)
"""OP-TEE 4.10 answers the first; which of the two it was has changed between versions."""
BLOCK = 4096


@pytest.fixture
def by() -> Deadline:
    """Longer than usual: the box makes its attestation key, or another box is opened."""
    return Deadline.after(180)


def counted_up(box: TrustBox, by: Deadline, times: int = 2) -> set[str]:
    """Seal a counter on a box that has none, and tell which files that made in the storage."""
    box.enclave.install(SAMPLE, build_sample(box.target), by=by)
    before = files(box.target, by)
    with box.enclave.open(SAMPLE, by=by) as session:
        for _ in range(times):
            SampleEnclave(session).increment(by=by)
    return files(box.target, by) - before


def counter(box: TrustBox, by: Deadline) -> int:
    with box.enclave.open(SAMPLE, by=by) as session:
        return SampleEnclave(session).read(by=by)


def files(target: Target, by: Deadline) -> set[str]:
    return set(target.shell.run("ls", "-1", target.layout.storage_root, by=by).text.split())


def path(target: Target, name: str) -> str:
    return posixpath.join(target.layout.storage_root, name)


def spoil(target: Target, name: str, by: Deadline) -> None:
    """Flip a byte in each block: OP-TEE keeps two copies of each, and nobody tells which counts."""
    data = bytearray(target.shell.read(path(target, name), by=by))
    for at in range(0, len(data), BLOCK):
        data[at] ^= 0x01
        data[min(at + 200, len(data) - 1)] ^= 0x01
    target.shell.write(path(target, name), bytes(data), by=by)


def saved(target: Target, by: Deadline) -> bytes:
    """The whole storage, as an archive."""
    return target.shell.run("tar", "-C", target.layout.storage_root, "-c", ".", by=by).stdout


def put_back(target: Target, archive: bytes, by: Deadline) -> None:
    """Exactly what is in the archive, and nothing else."""
    script = 'cd -- "$1" && rm -rf -- ./* && tar -x'
    root = target.layout.storage_root
    target.shell.run("sh", "-c", script, "sh", root, stdin=archive, by=by)


def with_counter(target: Target, data: bytes) -> PolicyFile:
    enclave = PolicyEnclave(SAMPLE, None, parse(data).digest, None, COUNTER_READ)
    return replace(policy_for(target), enclave=enclave)


def looked(box: TrustBox, least: int, by: Deadline) -> Appraisal:
    policy = with_counter(box.target, build_sample(box.target))
    return appraise(box.target, policy, Pinned(counter=least), by=by)


def refused(look: Appraisal) -> set[Check]:
    return {finding.check for finding in look.verdict.refusals}


@pytest.mark.case("N-24", expect="0xf0100001 or 0xffff000f")
def test_an_object_with_flipped_bytes_is_refused(box: TrustBox, by: Deadline) -> None:
    (name,) = counted_up(box, by)
    spoil(box.target, name, by)

    with pytest.raises(TeeRefused) as caught:
        counter(box, by)

    assert caught.value.code in REFUSALS


@pytest.mark.case("N-25", expect="0xf0100001")
def test_an_object_whose_file_is_gone_is_refused(box: TrustBox, by: Deadline) -> None:
    (name,) = counted_up(box, by)
    box.target.shell.run("rm", "--", path(box.target, name), by=by)

    with pytest.raises(TeeRefused) as caught:
        counter(box, by)

    assert caught.value.code == TeeCode.CORRUPT_OBJECT


@pytest.mark.case("N-26", expect="0xf0100001 or 0xffff000f from the TEE; storage fails")
@pytest.mark.needs(Capability.ATTESTATION, Capability.GOLDEN)
def test_a_spoilt_directory_file_is_refused_and_named(box: TrustBox, by: Deadline) -> None:
    counted_up(box, by)
    spoil(box.target, "dirf.db", by)

    with pytest.raises(TeeRefused) as caught:
        counter(box, by)
    look = looked(box, 2, by)

    assert caught.value.code in REFUSALS
    assert caught.value.origin == TeeOrigin.TEE
    assert Check.STORAGE in refused(look)


@pytest.mark.case("N-27", expect="refused")
@pytest.mark.weakness(
    "without RPMB OP-TEE takes any copy of its storage that is whole",
    lacks=Capability.STORAGE_ROLLBACK_PROTECTED,
)
def test_storage_that_is_put_back_is_refused(box: TrustBox, by: Deadline) -> None:
    counted_up(box, by, 1)
    older = saved(box.target, by)
    with box.enclave.open(SAMPLE, by=by) as session:
        SampleEnclave(session).increment(by=by)
    put_back(box.target, older, by)

    with pytest.raises(TeeRefused):
        counter(box, by)


@pytest.mark.case("N-27", expect="storage-fresh fails")
@pytest.mark.needs(Capability.ATTESTATION, Capability.GOLDEN)
def test_storage_that_is_put_back_is_named_by_who_kept_the_counter(
    box: TrustBox, by: Deadline
) -> None:
    counted_up(box, by, 1)
    older = saved(box.target, by)
    with box.enclave.open(SAMPLE, by=by) as session:
        count = SampleEnclave(session).increment(by=by)

    before = looked(box, count, by)
    put_back(box.target, older, by)
    after = looked(box, count, by)

    assert refused(before) == set()
    assert refused(after) == {Check.STORAGE_FRESH}


@pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE)
@pytest.mark.needs(Capability.ATTESTATION, Capability.GOLDEN)
def test_a_storage_without_the_token_that_was_pinned_is_refused(
    box: TrustBox, by: Deadline
) -> None:
    """As after OP-TEE made it anew: it reads without an error."""
    policy = policy_for(box.target)
    box.keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)
    box.keys.close()
    before = followed(Pinned(), appraise(box.target, policy, by=by))
    box.target.rig.restore(by=by)

    after = appraise(box.target, policy, Pinned(tokens=before.tokens), by=by)

    assert before.tokens == (f"0 {LABEL}",)
    assert refused(after) == {Check.STORAGE_KEPT}


@pytest.mark.case("N-28", expect="0xf0100001 or 0xffff000f")
@pytest.mark.needs(Capability.OWN_HUK, Capability.MORE_BOXES)
def test_another_box_cannot_read_it(
    box: TrustBox, another_box: Callable[..., TrustBox], by: Deadline
) -> None:
    counted_up(box, by, 2)
    other = another_box()
    counted_up(other, by, 1)
    put_back(other.target, saved(box.target, by), by)

    with pytest.raises(TeeRefused) as caught:
        counter(other, by)

    assert caught.value.code in REFUSALS
