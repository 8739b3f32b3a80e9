"""TEE calls on the box under test: results and origins come back as they are."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import (
    DeadlineExpired,
    DeviceRefused,
    LinkLost,
    MissingCapability,
    Misuse,
    TeeRefused,
)
from harness.target import Target
from harness.tee import IMPLEMENTATION_OPTEE, Direction, Memref, TeeClient, TeeSession, Value
from harness.tee_codes import TeeCode, TeeOrigin

pytestmark = pytest.mark.needs(Capability.TEE, Capability.AGENT)

DEVICE_PTA = UUID("7011a688-ddde-4053-a5a9-7b3c4ddf13b8")
"""OP-TEE core/pta/device.c: command 0 lists pseudo TAs with a driver, in one output memref."""
GET_DEVICES = 0
IN, OUT = Direction.IN, Direction.OUT


@pytest.fixture
def client(target: Target, by: Deadline) -> Iterator[TeeClient]:
    with TeeClient.open(target, by=by) as opened:
        yield opened


@pytest.fixture
def devices(client: TeeClient, by: Deadline) -> Iterator[TeeSession]:
    """A session with a pseudo TA that every OP-TEE has, and that only reads."""
    with client.open_session(DEVICE_PTA, by=by) as session:
        yield session


def test_the_tee_is_op_tee(client: TeeClient, by: Deadline) -> None:
    assert client.version(by=by).implementation == IMPLEMENTATION_OPTEE


@pytest.mark.needs(Capability.TA_LOAD)
def test_an_unknown_ta_is_not_found_and_that_comes_from_the_tee(
    client: TeeClient, by: Deadline
) -> None:
    with pytest.raises(TeeRefused) as caught:
        client.open_session(uuid4(), by=by)

    assert (caught.value.code, caught.value.origin) == (0xFFFF0008, TeeOrigin.TEE)
    assert "TEE_ERROR_ITEM_NOT_FOUND" in str(caught.value)


def test_a_memref_comes_back_with_its_bytes(devices: TeeSession, by: Deadline) -> None:
    result = devices.invoke(GET_DEVICES, Memref(4096, OUT), by=by).check("listing devices")

    listed = result.params[0]
    assert isinstance(listed, Memref)
    assert isinstance(listed.data, bytes)
    assert len(listed.data) % 16 == 0
    assert result.params[1:] == (None, None, None)


def test_a_memref_that_is_too_small_comes_back_with_the_size_it_needs(
    devices: TeeSession, by: Deadline
) -> None:
    whole = devices.invoke(GET_DEVICES, Memref(4096, OUT), by=by).params[0]
    result = devices.invoke(GET_DEVICES, Memref(0, OUT), by=by)

    assert isinstance(whole, Memref)
    assert result.code == TeeCode.SHORT_BUFFER
    assert result.params[0] == Memref(whole.size, OUT)


@pytest.mark.parametrize(
    "params",
    [(), (Value(1, 2, IN),), (Memref(b"x", IN),), (Memref(64, OUT), Value(0, 0, OUT))],
    ids=["none", "value", "input", "one too many"],
)
def test_parameters_of_another_type_are_refused_by_the_ta(
    devices: TeeSession, by: Deadline, params: tuple[Value | Memref, ...]
) -> None:
    result = devices.invoke(GET_DEVICES, *params, by=by)

    assert result.code == TeeCode.BAD_PARAMETERS


def test_an_unknown_command_is_refused_by_the_ta(devices: TeeSession, by: Deadline) -> None:
    result = devices.invoke(0xFFFFFFFF, Memref(64, OUT), by=by)

    assert result.code != TeeCode.SUCCESS
    assert result.origin in (TeeOrigin.TEE, TeeOrigin.TRUSTED_APP)


def test_a_closed_session_takes_no_more_calls(client: TeeClient, by: Deadline) -> None:
    session = client.open_session(DEVICE_PTA, by=by)
    session.close()
    session.close()

    with pytest.raises(Misuse, match="is closed"):
        session.invoke(GET_DEVICES, Memref(64, OUT), by=by)
    assert client.version(by=by)


def test_a_session_ends_with_its_client(target: Target, by: Deadline) -> None:
    with TeeClient.open(target, by=by) as client:
        session = client.open_session(DEVICE_PTA, by=by)

    with pytest.raises(LinkLost, match="it was closed"):
        session.invoke(GET_DEVICES, Memref(64, OUT), by=by)
    session.close()


def test_a_helper_serves_the_next_client_once_all_sessions_are_closed(
    target: Target, by: Deadline
) -> None:
    with TeeClient.open(target, by=by) as first:
        first.open_session(DEVICE_PTA, by=by).close()
    with TeeClient.open(target, by=by) as second:
        assert second._agent is first._agent


def test_a_helper_with_an_open_session_ends_with_its_client(target: Target, by: Deadline) -> None:
    with TeeClient.open(target, by=by) as first:
        first.open_session(DEVICE_PTA, by=by)
    with TeeClient.open(target, by=by) as second:
        assert first._agent.closed
        assert second.version(by=by)


def test_a_session_of_one_client_is_none_of_anothers(
    client: TeeClient, target: Target, by: Deadline
) -> None:
    number = client.open_session(DEVICE_PTA, by=by)._number
    with TeeClient.open(target, by=by) as other:
        foreign = TeeSession(other, DEVICE_PTA, number)

        with pytest.raises(Misuse, match="no such session"):
            foreign.invoke(GET_DEVICES, Memref(64, OUT), by=by)


def test_too_much_shared_memory_is_refused_and_the_client_goes_on(
    devices: TeeSession, by: Deadline
) -> None:
    with pytest.raises(Misuse, match="at most 1048576 fit"):
        devices.invoke(GET_DEVICES, Memref(1024 * 1024 + 1, OUT), by=by)

    assert devices.invoke(GET_DEVICES, Memref(4096, OUT), by=by).code == TeeCode.SUCCESS


def test_as_much_shared_memory_as_is_allowed_comes_back(devices: TeeSession, by: Deadline) -> None:
    assert devices.invoke(GET_DEVICES, Memref(1024 * 1024, OUT), by=by).code == TeeCode.SUCCESS


def test_many_sessions_fit_and_one_too_many_is_refused(client: TeeClient, by: Deadline) -> None:
    sessions = [client.open_session(DEVICE_PTA, by=by) for _ in range(32)]
    with pytest.raises(Misuse, match="too many sessions"):
        client.open_session(DEVICE_PTA, by=by)
    sessions.pop().close()

    assert client.open_session(DEVICE_PTA, by=by)


def test_threads_share_a_client_one_call_at_a_time(client: TeeClient, by: Deadline) -> None:
    def count(_: int) -> int:
        with client.open_session(DEVICE_PTA, by=by) as session:
            return session.invoke(GET_DEVICES, Memref(4096, OUT), by=by).code

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(count, range(8))) == [0] * 8


def test_a_call_that_runs_out_of_time_ends_the_client(target: Target, by: Deadline) -> None:
    with TeeClient.open(target, by=by) as client:
        session = client.open_session(DEVICE_PTA, by=by)
        with pytest.raises(DeadlineExpired):
            session.invoke(GET_DEVICES, Memref(64, OUT), by=Deadline.after(0.0))


def test_a_box_without_the_device_node_is_a_refusal(target: Target, by: Deadline) -> None:
    elsewhere = replace(target, layout=replace(target.layout, tee_device="/dev/no-such-tee"))
    with (
        TeeClient.open(elsewhere, by=by) as client,
        pytest.raises(DeviceRefused, match="the TEE device cannot be opened"),
    ):
        client.version(by=by)


def test_a_target_that_lacks_a_tee_says_so(target: Target, by: Deadline) -> None:
    without = replace(target, capabilities=target.capabilities - {Capability.TEE})

    with pytest.raises(MissingCapability, match="lacks tee"), TeeClient.open(without, by=by):
        pass


def test_the_history_tells_calls_and_outcomes_never_what_went_in(
    client: TeeClient, target: Target, by: Deadline
) -> None:
    with client.open_session(DEVICE_PTA, by=by) as session:
        session.invoke(GET_DEVICES, Memref(b"hunter2", IN), by=by)

    told = "\n".join(map(str, target.history.since(0)))
    assert f"opening a session with {DEVICE_PTA} -> success" in told
    assert f"invoking command 0 of {DEVICE_PTA} -> 0xffff0006 TEE_ERROR_BAD_PARAMETERS" in told
    assert "hunter2" not in told
