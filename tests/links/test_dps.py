"""Registration of devices at a server that speaks DPS, and every way in which it can go wrong."""

from __future__ import annotations

import threading
from types import TracebackType

import pytest

from harness.deadline import Deadline
from harness.errors import (
    BadFrame,
    DeadlineExpired,
    IntegrityFailure,
)
from provisioning.dps import DpsDevice
from provisioning.http_errors import ServiceRefused
from provisioning.http_tls import TlsConnector
from provisioning.local_http import Asked, Told
from tests.links.dps_asking import DEVICE, SCOPE, register
from tests.links.dps_server import HUB, DpsServer, Fault
from tests.links.est_pki import Pki

pytestmark = pytest.mark.slow


class Enough(Exception):
    """Ends a registration from ``started``."""


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(30)


@pytest.mark.parametrize("polls", [0, 1, 4])
def test_device_is_assigned_after_any_number_of_polls(pki: Pki, by: Deadline, polls: int) -> None:
    with DpsServer(pki, polls=polls) as server:
        done = register(server, by=by)

    assert (done.hub, done.device_id, done.substatus) == (HUB, DEVICE, "initialAssignment")
    assert server.subjects[0] == f"CN={DEVICE}"


def test_assignment_in_the_first_answer_needs_no_poll(pki: Pki, by: Deadline) -> None:
    state = {"assignedHub": HUB, "deviceId": DEVICE, "registrationId": DEVICE}
    body = {"operationId": "4.a", "status": "assigned", "registrationState": state}
    with DpsServer(pki, Fault(200, body)) as server:
        assert register(server, by=by).hub == HUB

    assert len(server.requests) == 1


def test_another_hub_than_before_is_told(pki: Pki, by: Deadline) -> None:
    moved = {"assignedHub": "Other.Azure-Devices.net", "substatus": "deviceDataMigrated"}
    with DpsServer(pki, outcome=moved) as server:
        done = register(server, by=by)

    assert (done.hub, done.substatus) == ("other.azure-devices.net", "deviceDataMigrated")


def test_whole_registration_needs_one_handshake(pki: Pki, by: Deadline) -> None:
    """A signature in a TEE takes its time, so a connection is kept."""
    with DpsServer(pki, polls=3) as server:
        register(server, by=by)

    assert (server.handshakes, len(server.requests)) == (1, 5)


@pytest.mark.fault(
    "DPS",
    "no Retry-After",
    comes="works: the run polls after a while",
    then="nothing",
)
def test_registration_without_retry_after_polls_after_a_while(pki: Pki, by: Deadline) -> None:
    with DpsServer(pki, polls=0, retry_after=None) as server:
        assert register(server, by=by).hub == HUB


def test_operation_is_told_at_once_and_polled_when_given_back(pki: Pki, by: Deadline) -> None:
    told: list[str] = []

    def started(operation: str) -> None:
        told.append(operation)
        raise Enough

    with DpsServer(pki, polls=-1) as server:
        server.open = True
        connector = TlsConnector(pki.text, pki.identity(DEVICE))
        with DpsDevice(SCOPE, DEVICE, connector, endpoint=server.url) as device:
            with pytest.raises(Enough):
                device.register(by=by, started=started)
            before = len(server.requests)
            server.assigned(DEVICE)
            done = device.register(by=by, operation=told[0])

    assert done.hub == HUB
    assert before == 1
    assert [line.split()[0] for line in server.requests[before:]] == ["GET"]


def test_assigning_for_ever_ends_with_the_deadline_and_says_so(pki: Pki) -> None:
    with (
        DpsServer(pki, polls=-1) as server,
        pytest.raises(DeadlineExpired, match=r"still says assigning after \d+ polls of operation"),
    ):
        register(server, by=Deadline.after(3))


class Mute(DpsServer):
    """Leaves polls without an answer, from the one with this number on."""

    def __init__(self, pki: Pki, *, number: int) -> None:
        super().__init__(pki, polls=-1)
        self._left, self._ended = number - 1, threading.Event()

    def answer(self, asked: Asked) -> Told:
        if asked.method == "GET":
            if not self._left:
                self._ended.wait(60)
                return Told(0, cut=True)
            self._left -= 1
        return super().answer(asked)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        super().__exit__(kind, problem, trace)


@pytest.mark.parametrize(
    ("number", "operation", "said"),
    [
        (2, "", "still says assigning after 1 polls of operation"),
        (1, "4.kept", "to tell of operation 4.kept of"),
    ],
    ids=["the second", "the first, of an operation given back"],
)
def test_poll_that_is_not_answered_ends_with_the_deadline_and_names_the_operation(
    pki: Pki, number: int, operation: str, said: str
) -> None:
    with Mute(pki, number=number) as server, pytest.raises(DeadlineExpired, match=said) as caught:
        register(server, by=Deadline.after(3), operation=operation)

    assert isinstance(caught.value.__cause__, DeadlineExpired)  # in mid-request, not between two


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ({"status": "disabled"}, "enrollment is disabled"),
        ({"status": "unassigned"}, "not assigned"),
        (
            {
                "status": "failed",
                "errorCode": 400209,
                "errorMessage": "Custom allocation failed with status code: 401",
            },
            "400209.*Custom allocation failed with status code: 401",
        ),
        ({"status": "failed"}, "no reason given"),
    ],
    ids=["disabled", "unassigned", "failed", "failed without a word"],
)
def test_end_without_assignment_is_a_refusal_with_the_reason(
    pki: Pki, by: Deadline, outcome: dict[str, object], said: str
) -> None:
    with (
        DpsServer(pki, outcome=outcome) as server,
        pytest.raises(ServiceRefused, match=f"(?s){said}"),
    ):
        register(server, by=by)


def test_answer_about_another_device_is_an_integrity_failure(pki: Pki, by: Deadline) -> None:
    with (
        DpsServer(pki, outcome={"registrationId": "tb-dps-0002"}) as server,
        pytest.raises(IntegrityFailure, match="tb-dps-0002"),
    ):
        register(server, by=by)


def test_registration_id_in_other_letters_is_the_same_device(pki: Pki, by: Deadline) -> None:
    with DpsServer(pki, outcome={"registrationId": DEVICE.upper()}) as server:
        assert register(server, by=by).registration_id == DEVICE


@pytest.mark.fault(
    "DPS",
    "a device id other than the registration id",
    comes="works: it is the enrollment's choice, and the record names it",
    then="nothing",
)
def test_another_device_id_is_the_enrollments_choice(pki: Pki, by: Deadline) -> None:
    with DpsServer(pki, outcome={"deviceId": "Chosen-7"}) as server:
        assert register(server, by=by).device_id == "Chosen-7"


ODD: dict[str, Fault] = {
    "unknown status": Fault(200, {"operationId": "4.a", "status": "pending"}),
    "no operation": Fault(202, {"status": "assigning"}),
    "operation a number": Fault(202, {"operationId": 4, "status": "assigning"}),
    "list": Fault(200, b"[]"),
    "repeated key": Fault(200, b'{"operationId":"a","operationId":"b","status":"assigning"}'),
    "NaN": Fault(200, b'{"operationId":"a","status":"assigning","x":NaN}'),
    "cut JSON": Fault(200, b'{"operationId":"a"'),
    "nested": Fault(200, b"[" * 100_000),
    "HTML": Fault(200, b"<html>", {"content-type": "text/html"}),
    "no type": Fault(200, b"{}", {"content-type": ""}),
    "gzip": Fault(200, b"\x1f\x8b", {"content-encoding": "gzip"}),
    "hub empty": Fault(
        200, {"status": "assigned", "registrationState": {"assignedHub": "", "deviceId": "x"}}
    ),
    "hub with a port": Fault(
        200, {"status": "assigned", "registrationState": {"assignedHub": "h.x:1", "deviceId": "x"}}
    ),
    "no device": Fault(
        200, {"status": "assigned", "registrationState": {"assignedHub": "h.example"}}
    ),
    "other operation": Fault(
        202, {"operationId": "another", "status": "assigning"}, only="/operations/"
    ),
}


@pytest.mark.parametrize("fault", ODD.values(), ids=ODD)
def test_answer_of_another_form_is_a_bad_frame(pki: Pki, by: Deadline, fault: Fault) -> None:
    with DpsServer(pki, fault) as server, pytest.raises(BadFrame):
        register(server, by=by)


@pytest.mark.parametrize("operation", ["4.dd5e9d546d057f12.8a2a1010-0000", "a/../b?c#d", "ü %2f"])
def test_operation_of_any_letters_stays_one_part_of_the_path(
    pki: Pki, by: Deadline, operation: str
) -> None:
    first = Fault(202, {"operationId": operation, "status": "assigning"}, {"retry-after": "0"})
    state = {"assignedHub": HUB, "deviceId": "x"}
    then = Fault(
        200, {"operationId": operation, "status": "assigned", "registrationState": state},
        only="GET",
    )  # fmt: skip
    with DpsServer(pki, first, then) as server:
        register(server, by=by)

    assert server.requests[1].count("/") == 5
