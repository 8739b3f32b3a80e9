"""``install_proven`` leaves what was there, however it ends; ``installed`` reads all headers.

These share one box: each puts there what it begins with.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import CommandFailed, DeadlineExpired, DeviceRefused, TeeRefused
from harness.target import Target
from harness.tee import TeeSession
from provisioning.enclave import EnclaveSession
from provisioning.enclave_image import payload
from provisioning.enclave_make import Chain, child_uuid, resigned_ta, signed_subkey, signed_ta
from provisioning.sample_enclave import SAMPLE
from provisioning.trustbox import TrustBox
from tests.device.enclaves import Stranger, box_signer, put, take_away
from tests.device.sample import build_sample

pytestmark = [
    pytest.mark.enclave,
    pytest.mark.needs(Capability.TEE, Capability.AGENT, Capability.TA_LOAD, Capability.TA_DEVKIT),
]


@pytest.fixture
def sample(module_box: TrustBox, target: Target) -> Iterator[bytes]:
    yield build_sample(target)
    take_away(target, SAMPLE)


class Stopped(EnclaveSession):
    """Something happens when the new file is on the box, right before it is opened."""

    def __init__(self, target: Target, happens: Callable[[], None]) -> None:
        super().__init__(target)
        self._happens = happens
        self.was_there = b""

    @contextmanager
    def open(self, uuid: UUID, *, by: Deadline) -> Iterator[TeeSession]:
        self.was_there = self._target.shell.read(self.path(uuid), by=by)
        self._happens()
        with super().open(uuid, by=by) as session:
            yield session


def ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def over(by: Deadline) -> None:
    """It is later than ``by`` at once."""
    object.__setattr__(by, "at", 0.0)


def is_there(target: Target, by: Deadline) -> bool:
    names = target.shell.run("ls", "--", target.layout.ta_directory, by=by).text.split()
    return f"{SAMPLE}.ta" in names


@pytest.mark.parametrize("stop", ["Ctrl-C", "deadline"])
@pytest.mark.parametrize("before", ["another", "none"])
def test_an_installation_that_is_stopped_leaves_what_was_there(
    target: Target, sample: bytes, by: Deadline, stop: str, before: str
) -> None:
    if before == "another":
        put(target, SAMPLE, sample, by)
    newer = resigned_ta(sample, signer=box_signer(target), by=by)
    short = Deadline.after(60)
    happens, error = (
        (ctrl_c, KeyboardInterrupt) if stop == "Ctrl-C" else (lambda: over(short), DeadlineExpired)
    )
    session = Stopped(target, happens)

    with pytest.raises(error):
        session.install_proven(SAMPLE, newer, by=short)

    assert session.was_there == newer
    if before == "none":
        assert not is_there(target, by)
    else:
        assert target.shell.read(session.path(SAMPLE), by=by) == sample


def test_an_installation_that_is_not_stopped_leaves_the_new_one(
    target: Target, sample: bytes, by: Deadline
) -> None:
    put(target, SAMPLE, sample, by)
    newer = resigned_ta(sample, signer=box_signer(target), by=by)
    session = EnclaveSession(target)

    session.install_proven(SAMPLE, newer, by=by)

    assert target.shell.read(session.path(SAMPLE), by=by) == newer


def test_a_file_that_cannot_be_read_is_neither_replaced_nor_deleted(
    target: Target, sample: bytes, by: Deadline
) -> None:
    """It has holes, and is larger than what is read in one piece."""
    session = EnclaveSession(target)
    foreign = resigned_ta(sample, signer=Stranger(), by=by)
    target.shell.run("truncate", "-s", "65M", "--", session.path(SAMPLE), by=by)

    with pytest.raises(DeviceRefused) as refused:
        session.install_proven(SAMPLE, foreign, by=by)

    assert not isinstance(refused.value, TeeRefused)
    size = target.shell.run("stat", "-c", "%s", "--", session.path(SAMPLE), by=by).text
    assert int(size) == 65 << 20


def test_what_cannot_be_put_back_is_told(target: Target, sample: bytes, by: Deadline) -> None:
    path, shell = EnclaveSession(target).path(SAMPLE), target.shell
    foreign = resigned_ta(sample, signer=Stranger(), by=by)

    def blocked() -> None:
        """A directory, which nobody takes for a file to delete."""
        shell.run("sh", "-c", 'rm -- "$1" && mkdir -- "$1"', "sh", path, by=by)

    try:
        with pytest.raises(TeeRefused) as refused:
            Stopped(target, blocked).install_proven(SAMPLE, foreign, by=by)
        assert f"{path} could not be put back" in refused.value.diagnostics()
    finally:
        shell.run("rmdir", "--", path, by=by)
    with pytest.raises(CommandFailed):
        EnclaveSession(target).remove(SAMPLE, by=by)


def test_an_enclave_with_long_headers_is_listed_as_it_is(
    target: Target, sample: bytes, by: Deadline
) -> None:
    """Four subkeys with long names: more than 5000 bytes before its own header."""
    signer, vendor, space, front = box_signer(target), Stranger(), SAMPLE, b""
    for depth in (3, 2, 1, 0):
        chain = Chain(front, "n") if front else None
        space = child_uuid(space, "n") if front else space
        front = signed_subkey(
            vendor.public_key,
            uuid=space,
            signer=vendor if front else signer,
            name_size=1024,
            max_depth=depth,
            chain=chain,
            by=by,
        )
    uuid = child_uuid(space, "n")
    data = signed_ta(payload(sample), uuid=uuid, signer=vendor, chain=Chain(front, "n"), by=by)
    put(target, uuid, data, by)
    try:
        found = EnclaveSession(target).installed(signers={"ours": signer.public_key}, by=by)
        listed = {one.uuid: one for one in found}[uuid]
    finally:
        take_away(target, uuid)

    assert (listed.fault, listed.signer, listed.size) == ("", "ours", len(data))
    assert listed.image is not None
    assert listed.image.subkeys == 4
