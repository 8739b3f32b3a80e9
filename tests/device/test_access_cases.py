"""Who gets at the TEE from the normal world, and what a call does when nobody serves the TEE."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, TeeRefused
from harness.target import Target
from harness.tee import TeeClient
from harness.tee_codes import TeeCode
from provisioning.trustbox import TrustBox

pytestmark = [pytest.mark.integrity, pytest.mark.needs(Capability.TEE, Capability.AGENT)]
NOBODY = UUID("00000000-1111-4222-8333-444444444444")
UNPRIVILEGED = ("chroot", "--userspec=65534:65534", "/", "/bin/sh", "-c")
OPEN = ': < "$0"'
SHORT_SECONDS = 3.0


@pytest.mark.case("N-40", expect="EACCES")
@pytest.mark.parametrize("name", ["tee0", "teepriv0"])
def test_an_ordinary_user_cannot_open_the_tee(target: Target, by: Deadline, name: str) -> None:
    done = target.shell.run(*UNPRIVILEGED, OPEN, f"/dev/{name}", by=by, check=False)

    assert done.status != 0
    assert b"ermission denied" in done.stderr


@pytest.mark.case("N-40", expect="EBUSY")
def test_nobody_takes_the_supplicant_s_place_while_it_runs(target: Target, by: Deadline) -> None:
    done = target.shell.run("/bin/sh", "-c", OPEN, "/dev/teepriv0", by=by, check=False)

    assert done.status != 0
    assert b"busy" in done.stderr


@contextmanager
def without_supplicant(target: Target, by: Deadline) -> Iterator[None]:
    """It stands still: requests of the TEE to the normal world are taken by nobody."""
    signal = 'kill "-$1" $(pidof tee-supplicant)'
    target.shell.run("sh", "-c", signal, "sh", "STOP", by=by)
    try:
        yield
    finally:
        target.shell.run("sh", "-c", signal, "sh", "CONT", by=by)


@pytest.mark.case("N-42", expect="the call ends at its deadline, and works afterwards")
@pytest.mark.needs(Capability.TA_LOAD)
def test_without_a_supplicant_a_call_ends_at_its_deadline_and_then_works(
    box: TrustBox, by: Deadline
) -> None:
    with (
        without_supplicant(box.target, by),
        pytest.raises(DeadlineExpired),
        TeeClient.open(box.target, by=by) as client,
    ):
        client.open_session(NOBODY, by=Deadline.after(SHORT_SECONDS))

    with pytest.raises(TeeRefused) as caught, box.enclave.open(NOBODY, by=by):
        pass

    assert caught.value.code == TeeCode.ITEM_NOT_FOUND
