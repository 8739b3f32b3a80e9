"""``box.enclave`` on the box's own OP-TEE, and what OP-TEE refuses to load."""

from __future__ import annotations

from hashlib import sha256
from uuid import UUID

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import BadInput, CommandFailed, TeeRefused
from harness.target import Target
from harness.tee_codes import TeeCode, TeeOrigin
from harness.tee_params import Value
from provisioning.enclave_image import parse
from provisioning.enclave_make import resigned_ta
from provisioning.sample_enclave import COUNTER_INCREMENT, SAMPLE, SampleEnclave
from provisioning.trustbox import TrustBox
from tests.device.enclaves import Stranger, box_signer
from tests.device.sample import DIGEST, build_sample, code_at, flipped

pytestmark = [
    pytest.mark.enclave,
    pytest.mark.needs(Capability.TEE, Capability.AGENT, Capability.TA_LOAD, Capability.TA_DEVKIT),
]

NOBODY = UUID("00000000-1111-4222-8333-444444444444")


@pytest.fixture(scope="session")
def sample(target: Target) -> bytes:
    return build_sample(target)


@pytest.fixture
def enclave_box(box: TrustBox, sample: bytes, by: Deadline) -> TrustBox:
    """A box with the sample enclave on it."""
    box.enclave.install(SAMPLE, sample, by=by)
    return box


def put(box: TrustBox, uuid: UUID, data: bytes, by: Deadline) -> None:
    """Past the checks of ``install``, as somebody with root on the box would."""
    box.target.shell.write(box.enclave.path(uuid), data, by=by, mode=0o444)


def refusal_to_open(box: TrustBox, uuid: UUID, by: Deadline) -> tuple[int, int]:
    """The TEE's code and origin."""
    with pytest.raises(TeeRefused) as caught, box.enclave.open(uuid, by=by):
        pass
    return caught.value.code, caught.value.origin


def count_up(box: TrustBox, by: Deadline) -> int:
    with box.enclave.open(SAMPLE, by=by) as session:
        return SampleEnclave(session).increment(by=by)


def test_the_counter_counts_from_zero_over_sessions(enclave_box: TrustBox, by: Deadline) -> None:
    with enclave_box.enclave.open(SAMPLE, by=by) as session:
        assert SampleEnclave(session).read(by=by) == 0

    assert [count_up(enclave_box, by) for _ in range(3)] == [1, 2, 3]


@pytest.mark.needs(Capability.POWER)
def test_the_counter_survives_a_power_cut(enclave_box: TrustBox, by: Deadline) -> None:
    count_up(enclave_box, by)
    count_up(enclave_box, by)
    enclave_box.target.rig.off()
    enclave_box.target.rig.on(by=by)

    with enclave_box.enclave.open(SAMPLE, by=by) as session:
        assert SampleEnclave(session).read(by=by) == 2


def test_two_sessions_share_one_counter(enclave_box: TrustBox, by: Deadline) -> None:
    with (
        enclave_box.enclave.open(SAMPLE, by=by) as one,
        enclave_box.enclave.open(SAMPLE, by=by) as other,
    ):
        SampleEnclave(one).increment(by=by)
        assert SampleEnclave(other).increment(by=by) == 2


def test_a_refused_increment_does_not_count(enclave_box: TrustBox, by: Deadline) -> None:
    with enclave_box.enclave.open(SAMPLE, by=by) as session:
        session.invoke(COUNTER_INCREMENT, Value(1, 2), by=by)

        assert SampleEnclave(session).read(by=by) == 0


def test_a_removed_enclave_is_not_found(enclave_box: TrustBox, by: Deadline) -> None:
    enclave_box.enclave.remove(SAMPLE, by=by)

    assert refusal_to_open(enclave_box, SAMPLE, by) == (TeeCode.ITEM_NOT_FOUND, TeeOrigin.TEE)


def test_an_enclave_that_is_not_there_cannot_be_removed(box: TrustBox, by: Deadline) -> None:
    with pytest.raises(CommandFailed):
        box.enclave.remove(NOBODY, by=by)


def test_a_spoilt_enclave_is_not_even_installed(
    enclave_box: TrustBox, sample: bytes, by: Deadline
) -> None:
    with pytest.raises(BadInput):
        enclave_box.enclave.install(SAMPLE, flipped(sample, code_at(sample)), by=by)

    assert count_up(enclave_box, by) == 1


def test_an_enclave_is_not_installed_under_another_name(
    box: TrustBox, sample: bytes, by: Deadline
) -> None:
    with pytest.raises(BadInput) as caught:
        box.enclave.install(NOBODY, sample, by=by)

    assert caught.value.key == "uuid"
    assert NOBODY not in {one.uuid for one in box.enclave.installed(by=by)}


def test_an_installed_enclave_is_listed_with_what_it_says_it_is(
    enclave_box: TrustBox, sample: bytes, by: Deadline
) -> None:
    listed = {one.uuid: one for one in enclave_box.enclave.installed(by=by)}

    assert listed[SAMPLE].image == parse(sample)
    assert (listed[SAMPLE].digest, listed[SAMPLE].size) == (sample[DIGEST], len(sample))


def test_a_file_that_is_no_enclave_is_listed_with_its_fault(box: TrustBox, by: Deadline) -> None:
    put(box, NOBODY, b"no enclave", by)

    listed = {one.uuid: one for one in box.enclave.installed(by=by)}

    assert listed[NOBODY].image is None
    assert "shdr" in listed[NOBODY].fault


def test_names_that_no_enclave_has_are_not_listed(box: TrustBox, by: Deadline) -> None:
    directory = box.target.layout.ta_directory
    before = box.enclave.installed(by=by)
    for name in ("x.ta", f"{NOBODY}.ta.part", f"{NOBODY}.ta\n{SAMPLE}.ta", "ab cd.ta"):
        box.target.shell.write(f"{directory}/{name}", b"", by=by)

    assert box.enclave.installed(by=by) == before


def test_an_installed_enclave_is_listed_with_whose_signature_it_bears(
    enclave_box: TrustBox, by: Deadline
) -> None:
    keys = {"nobody's": Stranger().public_key, "ours": box_signer(enclave_box.target).public_key}

    listed = {one.uuid: one for one in enclave_box.enclave.installed(signers=keys, by=by)}
    unknown = {one.uuid: one for one in enclave_box.enclave.installed(by=by)}

    assert (listed[SAMPLE].signer, unknown[SAMPLE].signer) == ("ours", None)


def test_an_enclave_that_the_box_refuses_leaves_the_one_before_in_its_place(
    enclave_box: TrustBox, sample: bytes, by: Deadline
) -> None:
    foreign = resigned_ta(sample, signer=Stranger(), by=by)
    with pytest.raises(TeeRefused):
        enclave_box.enclave.install_proven(SAMPLE, foreign, by=by)

    assert enclave_box.target.shell.read(enclave_box.enclave.path(SAMPLE), by=by) == sample
    enclave_box.enclave.remove(SAMPLE, by=by)
    with pytest.raises(TeeRefused):
        enclave_box.enclave.install_proven(SAMPLE, foreign, by=by)
    assert refusal_to_open(enclave_box, SAMPLE, by)[0] == TeeCode.ITEM_NOT_FOUND


@pytest.mark.needs(Capability.STREAMS)
def test_who_looks_while_one_is_installed_sees_the_old_or_the_new(
    enclave_box: TrustBox, sample: bytes, by: Deadline
) -> None:
    """Never half of one, and never none."""
    target, path = enclave_box.target, enclave_box.enclave.path(SAMPLE)
    newer = resigned_ta(sample, signer=box_signer(target), by=by)
    assert target.streams is not None
    looking = 'echo begun; until [ -e "$1.stop" ]; do sha256sum "$1" 2>&1; done; rm "$1.stop"'
    stream = target.streams.stream("sh", "-c", looking, "sh", path, by=by)
    seen = stream.receive(6, by=by)
    for data in (newer, sample, newer, sample):
        enclave_box.enclave.install(SAMPLE, data, by=by)
    target.shell.write(f"{path}.stop", b"", by=by)
    while part := stream.receive(65536, by=by):
        seen += part
    stream.close()

    looks = seen.decode().split("\n")[1:-1]
    assert {look.split()[0] for look in looks} <= {sha256(d).hexdigest() for d in (sample, newer)}
    assert len(looks) > 1
