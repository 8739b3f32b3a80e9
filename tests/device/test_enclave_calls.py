"""The sample enclave's commands, right and wrong; none of them leaves anything behind.

So one installed enclave serves them all, and no test asks for a pristine box.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.target import Target
from harness.tee import TeeSession
from harness.tee_codes import TeeCode, TeeOrigin
from harness.tee_params import Direction, Memref, Value
from provisioning.enclave import EnclaveSession
from provisioning.sample_enclave import (
    COUNTER_INCREMENT,
    COUNTER_READ,
    ECHO,
    MEASURE_SELF,
    SAMPLE,
    SampleEnclave,
)
from tests.device.sample import build_sample

pytestmark = [
    pytest.mark.enclave,
    pytest.mark.needs(Capability.TEE, Capability.AGENT, Capability.TA_LOAD, Capability.TA_DEVKIT),
]

IN, OUT = Direction.IN, Direction.OUT


@pytest.fixture(scope="module")
def enclave(target: Target) -> Iterator[EnclaveSession]:
    """The sample enclave on the box, for as long as this file's tests run."""
    enclaves = EnclaveSession(target)
    enclaves.install(SAMPLE, build_sample(target), by=Deadline.after(60))
    yield enclaves
    enclaves.remove(SAMPLE, by=Deadline.after(30))


@pytest.fixture
def session(enclave: EnclaveSession, by: Deadline) -> Iterator[TeeSession]:
    with enclave.open(SAMPLE, by=by) as session:
        yield session


@pytest.mark.parametrize("size", [0, 1, 4096, 65536])
def test_echo_gives_back_exactly_what_went_in(session: TeeSession, by: Deadline, size: int) -> None:
    data = bytes(octet * 7 % 251 for octet in range(size))

    assert SampleEnclave(session).echo(data, by=by) == data


def test_echo_into_a_short_buffer_says_how_much_room_it_needs(
    session: TeeSession, by: Deadline
) -> None:
    result = session.invoke(ECHO, Memref(b"0123456789", IN), Memref(3, OUT), by=by)

    assert (result.code, result.origin) == (TeeCode.SHORT_BUFFER, TeeOrigin.TRUSTED_APP)
    assert result.params[1] == Memref(10, OUT)


@pytest.mark.parametrize("command", [ECHO, COUNTER_INCREMENT, COUNTER_READ, MEASURE_SELF])
def test_parameters_of_the_wrong_type_are_refused_by_the_enclave(
    session: TeeSession, by: Deadline, command: int
) -> None:
    result = session.invoke(command, Value(1, 2), by=by)

    assert (result.code, result.origin) == (TeeCode.BAD_PARAMETERS, TeeOrigin.TRUSTED_APP)


def test_an_unknown_command_is_refused_by_the_enclave(session: TeeSession, by: Deadline) -> None:
    result = session.invoke(99, by=by)

    assert (result.code, result.origin) == (TeeCode.NOT_SUPPORTED, TeeOrigin.TRUSTED_APP)


@pytest.mark.needs(Capability.ATTESTATION)
@pytest.mark.parametrize("size", [0, 65])
def test_a_self_measurement_with_a_nonce_of_the_wrong_size_is_refused(
    session: TeeSession, by: Deadline, size: int
) -> None:
    result = session.invoke(MEASURE_SELF, Memref(bytes(size), IN), Memref(600, OUT), by=by)

    assert (result.code, result.origin) == (TeeCode.BAD_PARAMETERS, TeeOrigin.TRUSTED_APP)
