"""Parameters of every kind, a panic and a single session, on an enclave made for these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import TeeRefused
from harness.target import Target
from harness.tee import TeeClient
from harness.tee_codes import TeeCode, TeeOrigin
from harness.tee_params import Direction, Memref, Value
from provisioning.enclave import EnclaveSession
from provisioning.trustbox import TrustBox
from tests.device.enclaves import (
    MEMREFS,
    PANIC,
    PROBE,
    VALUES,
    build_probe,
    now,
    secure_log_says,
)

pytestmark = [
    pytest.mark.enclave,
    pytest.mark.needs(Capability.TEE, Capability.AGENT, Capability.TA_LOAD, Capability.TA_DEVKIT),
]

OUT, INOUT = Direction.OUT, Direction.INOUT


@pytest.fixture(scope="module")
def probe(module_box: TrustBox, target: Target) -> Iterator[EnclaveSession]:
    """The probe enclave on the box, for as long as this file's tests run."""
    enclaves = EnclaveSession(target)
    enclaves.install(PROBE, build_probe(target), by=Deadline.after(60))
    yield enclaves
    enclaves.remove(PROBE, by=Deadline.after(30))


def test_values_go_in_out_and_both_ways(probe: EnclaveSession, by: Deadline) -> None:
    given = (Value(1, 0xFFFFFFFE), Value(0, 0, OUT), Value(5, 7, INOUT))
    with probe.open(PROBE, by=by) as session:
        result = session.invoke(VALUES, *given, by=by).check("values")

    assert result.params == (given[0], Value(0xFFFFFFFE, 1, OUT), Value(6, 5, INOUT), None)


@pytest.mark.parametrize("size", [0, 1, 4097])
def test_memory_references_go_in_out_and_both_ways(
    probe: EnclaveSession, by: Deadline, size: int
) -> None:
    data, both = bytes(n % 251 for n in range(size)), bytes(n % 241 for n in range(size))
    given = (Memref(data), Memref(size, OUT), Memref(both, INOUT))
    with probe.open(PROBE, by=by) as session:
        result = session.invoke(MEMREFS, *given, by=by).check("memory references")

    inverted, reversed_ = bytes(255 - octet for octet in data), both[::-1]
    assert result.params == (given[0], Memref(inverted, OUT), Memref(reversed_, INOUT), None)


@pytest.mark.case("N-13", expect="0xffff3024 from the TEE, and the next session works")
def test_an_enclave_that_panics_is_dead_for_its_session_and_new_in_the_next(
    probe: EnclaveSession, target: Target, by: Deadline
) -> None:
    since = now()
    with probe.open(PROBE, by=by) as session:
        died = session.invoke(PANIC, by=by)
        again = session.invoke(VALUES, Value(1, 2), Value(0, 0, OUT), Value(0, 0, INOUT), by=by)

    dead = (TeeCode.TARGET_DEAD, TeeOrigin.TEE)
    assert ((died.code, died.origin), (again.code, again.origin)) == (dead, dead)
    assert secure_log_says(target, "TA panicked with code 0x0?badc0de", since=since, by=by)
    with probe.open(PROBE, by=by) as session:
        alive = session.invoke(VALUES, Value(1, 2), Value(0, 0, OUT), Value(0, 0, INOUT), by=by)
    assert alive.code == TeeCode.SUCCESS


@pytest.mark.case("N-14", expect="0xffff000d from the TEE; OP-TEE logs nothing of it")
def test_an_enclave_for_one_session_has_no_second_one(
    probe: EnclaveSession, target: Target, by: Deadline
) -> None:
    since = now()
    with TeeClient.open(target, by=by) as client, client.open_session(PROBE, by=by) as first:
        with pytest.raises(TeeRefused) as caught:
            client.open_session(PROBE, by=by)
        undisturbed = first.invoke(VALUES, Value(1, 2), Value(0, 0, OUT), Value(0, 0, INOUT), by=by)

    assert (caught.value.code, caught.value.origin) == (TeeCode.BUSY, TeeOrigin.TEE)
    assert undisturbed.code == TeeCode.SUCCESS
    assert not secure_log_says(target, "panic", since=since, by=by.sooner(0.2))
    with probe.open(PROBE, by=by):
        pass
