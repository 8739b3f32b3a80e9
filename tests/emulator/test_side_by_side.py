"""Two emulated boxes are two boxes: nothing of one is worth anything to the other."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import TeeRefused
from harness.secret import Secret
from harness.target import World
from harness.tee_codes import TeeCode
from provisioning.sample_enclave import SAMPLE, SampleEnclave
from provisioning.trustbox import TrustBox
from tests.device.sample import build_sample

pytestmark = pytest.mark.timeout(240)

HOST_KEY = "/etc/ssh/ssh_host_ecdsa_key"


@pytest.fixture
def by() -> Deadline:
    """The second box may have to be saved first, and everything is done twice."""
    return Deadline.after(180)


@pytest.fixture
def other(another_box: Callable[..., TrustBox]) -> TrustBox:
    return another_box()


def _archive(box: TrustBox, by: Deadline) -> bytes:
    """All that the secure world keeps in the normal world's file system."""
    root = box.target.layout.storage_root
    return box.target.shell.run("tar", "-C", root, "-cf", "-", ".", by=by).stdout


def _unpack(box: TrustBox, archive: bytes, by: Deadline) -> None:
    root = box.target.layout.storage_root
    box.target.shell.run("sh", "-c", 'rm -rf "$1"/*', "sh", root, by=by)
    box.target.shell.run("tar", "-C", root, "-xf", "-", by=by, stdin=archive)


def _count(box: TrustBox, by: Deadline) -> int:
    with box.enclave.open(SAMPLE, by=by) as session:
        return SampleEnclave(session).read(by=by)


def test_each_has_its_own_serial_number_and_host_key(
    box: TrustBox, other: TrustBox, by: Deadline
) -> None:
    serials = {b.target.shell.read("/proc/device-tree/serial-number", by=by) for b in (box, other)}
    keys = {b.target.shell.read(HOST_KEY, by=by) for b in (box, other)}

    assert serials == {f"{b.target.serial}\0".encode() for b in (box, other)}
    assert len(serials) == len(keys) == 2


@pytest.mark.needs(Capability.TEE, Capability.OWN_HUK)
def test_each_has_its_own_tee(box: TrustBox, other: TrustBox, by: Deadline) -> None:
    uuids = {b.info.look(by=by).tee_uuid for b in (box, other)}

    assert None not in uuids
    assert len(uuids) == 2


@pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE)
def test_keys_made_at_the_same_place_differ(box: TrustBox, other: TrustBox, by: Deadline) -> None:
    keys = []
    for one in (box, other):
        one.keys.initialise("t", so_pin=Secret(b"so-pin-1234"), user_pin=Secret(b"12345678"), by=by)
        one.keys.login("t", Secret(b"12345678"), by=by)
        keys.append(one.keys.generate("device", by=by)[0])

    assert keys[0].spki != keys[1].spki


@pytest.mark.needs(Capability.TA_LOAD, Capability.TA_DEVKIT)
def test_secure_storage_of_one_is_refused_by_the_other(
    box: TrustBox, other: TrustBox, by: Deadline
) -> None:
    sample = build_sample(box.target)
    for one in (box, other):
        one.enclave.install(SAMPLE, sample, by=by)
    with box.enclave.open(SAMPLE, by=by) as session:
        SampleEnclave(session).increment(by=by)
    archive = _archive(box, by)

    _unpack(other, archive, by)

    with pytest.raises(TeeRefused) as refused:
        _count(other, by)
    assert refused.value.code == TeeCode.CORRUPT_OBJECT
    # The same bytes are good where they came from, so it is not the copying that spoilt them.
    _unpack(box, archive, by)
    assert _count(box, by) == 1


def test_their_consoles_are_not_mixed_up(box: TrustBox, other: TrustBox, by: Deadline) -> None:
    for one in (box, other):
        said = f"I am {one.target.serial}"
        one.target.shell.run("sh", "-c", 'echo "$1" >/dev/ttyAMA0', "sh", said, by=by)

    for one, another in ((box, other), (other, box)):
        console = one.target.consoles[World.NORMAL]
        console.expect(re.compile(f"I am {one.target.serial}".encode()), by=by)
        transcript = console.transcript().decode(errors="replace")
        assert f"I am {another.target.serial}" not in transcript
