"""DPS registration when the service refuses, is busy, forgets, or the link breaks."""

from __future__ import annotations

import pytest

from harness.deadline import Deadline
from harness.errors import (
    BadFrame,
    DeadlineExpired,
    LinkLost,
    TrustBoxError,
)
from provisioning.dps import DpsDevice
from provisioning.http_errors import ServiceBusy, ServiceRefused
from provisioning.http_tls import TlsConnector
from tests.links.dps_asking import DEVICE, SCOPE, register
from tests.links.dps_server import HUB, DpsServer, Fault
from tests.links.est_pki import Pki

pytestmark = pytest.mark.slow


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(30)


@pytest.mark.parametrize(
    ("fault", "raised", "said"),
    [
        (Fault(401, code=401002), ServiceRefused, "401002"),
        (Fault(400), ServiceRefused, "400"),
        (Fault(403), ServiceRefused, "403"),
        (Fault(404), ServiceRefused, "404"),
        (Fault(405), ServiceRefused, "405"),
        (Fault(409), ServiceRefused, "409"),
        (Fault(415), ServiceRefused, "415"),
        (Fault(302, headers={"location": "https://localhost:1/"}), ServiceRefused, "302"),
        (Fault(429, headers={"retry-after": "3600"}), ServiceBusy, "come back in 3600"),
        (Fault(503, headers={"retry-after": "3600"}), ServiceBusy, "503"),
        (Fault(202, {"operationId": "4.a", "status": "assigning"}, {"retry-after": "86400"}),
         ServiceBusy, "86400"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Fault) else None,
)  # fmt: skip
def test_each_refusal_has_its_error(
    pki: Pki, by: Deadline, fault: Fault, raised: type[TrustBoxError], said: str
) -> None:
    with DpsServer(pki, fault) as server, pytest.raises(raised, match=said):
        register(server, by=by)

    assert len(server.requests) == 1


def test_refusal_of_the_certificate_says_what_to_look_at(pki: Pki, by: Deadline) -> None:
    with DpsServer(pki, Fault(401, code=401002)) as server, pytest.raises(ServiceRefused) as no:
        register(server, by=by)

    assert (no.value.code, no.value.http_status) == ("401002", 401)
    assert no.value.tracking_id.startswith("7f0c1e34")
    assert "intermediate" in no.value.hint


@pytest.mark.parametrize(
    "faults",
    [
        (Fault(429, headers={"retry-after": "1"}),),
        (Fault(429),),
        (Fault(500), Fault(502)),
        (Fault(429, only="/operations/", headers={"retry-after": "1"}),),
        (Fault(0, cut=True),),
        (Fault(0, cut=True, only="/operations/"),),
    ],
    ids=["429 and when", "429", "500, 502", "429 to a poll", "cut", "cut in a poll"],
)
def test_trouble_that_passes_is_waited_out(
    pki: Pki, by: Deadline, faults: tuple[Fault, ...]
) -> None:
    with DpsServer(pki, *faults) as server:
        assert register(server, by=by).hub == HUB


def test_busy_beyond_the_deadline_is_told_as_busy(pki: Pki) -> None:
    faults = [Fault(429)] * 20
    with DpsServer(pki, *faults) as server, pytest.raises((ServiceBusy, DeadlineExpired)):
        register(server, by=Deadline.after(1.5))


def test_server_that_always_cuts_is_a_lost_link(pki: Pki) -> None:
    faults = [Fault(0, cut=True)] * 20
    with DpsServer(pki, *faults) as server, pytest.raises((LinkLost, DeadlineExpired)):
        register(server, by=Deadline.after(1.5))


@pytest.mark.fault(
    "DPS",
    "another registration of the same box is under way (412)",
    comes="works: the box is looked up, then registered again",
    then="nothing",
)
def test_conflict_with_another_registration_is_looked_up_then_tried_again(
    pki: Pki, by: Deadline
) -> None:
    with DpsServer(pki, Fault(412, headers={"retry-after": "0"})) as server:
        assert register(server, by=by).hub == HUB

    assert [line.split()[0] for line in server.requests[:3]] == ["PUT", "POST", "PUT"]


def test_conflict_whose_other_side_won_is_an_assignment(pki: Pki, by: Deadline) -> None:
    with DpsServer(pki, polls=0) as server:
        register(server, by=by)
        server.faults.append(Fault(412, headers={"retry-after": "0"}))
        before = len(server.requests)
        assert register(server, by=by).hub == HUB

    assert [line.split()[0] for line in server.requests[before:]] == ["PUT", "POST"]


def test_conflict_for_ever_is_a_refusal(pki: Pki, by: Deadline) -> None:
    faults = [Fault(412, headers={"retry-after": "0"}, only="PUT")] * 10
    with DpsServer(pki, *faults) as server, pytest.raises(ServiceRefused, match="412"):
        register(server, by=by)


def test_operation_that_is_gone_is_looked_up(pki: Pki, by: Deadline) -> None:
    with DpsServer(pki, Fault(404, only="/operations/")) as server:
        assert register(server, by=by).hub == HUB


def test_operation_that_is_gone_twice_is_a_refusal(pki: Pki, by: Deadline) -> None:
    faults = [Fault(404, only="/operations/")] * 2
    with (
        DpsServer(pki, *faults, outcome={"status": "unassigned"}) as server,
        pytest.raises(ServiceRefused, match="404"),
    ):
        register(server, by=by)


@pytest.mark.fault(
    "DPS",
    "the service is busy (429, 5xx), or the link breaks, when it is asked what it knows of a box",
    comes="waited for as at the registration; ServiceBusy with its time beyond the deadline",
    then="nothing, or run it again after that time",
)
@pytest.mark.parametrize(
    "fault",
    [
        Fault(429, headers={"retry-after": "0"}, only="POST"),
        Fault(503, only="POST"),
        Fault(0, cut=True, only="POST"),
    ],
    ids=["429", "503", "cut"],
)
def test_look_up_waits_for_a_busy_service(pki: Pki, by: Deadline, fault: Fault) -> None:
    with DpsServer(pki, fault) as server:
        server.open = True
        with device_at(server) as device:
            found = device.look_up(by=by)

    assert found is None
    assert len(server.requests) == 2


def test_look_up_gives_up_when_the_service_is_busy_beyond_the_deadline(
    pki: Pki, by: Deadline
) -> None:
    busy = Fault(503, headers={"retry-after": "3600"}, only="POST")
    with DpsServer(pki, busy) as server, device_at(server) as device:
        server.open = True
        with pytest.raises(ServiceBusy, match="come back in 3600"):
            device.look_up(by=by)

    assert len(server.requests) == 1


def device_at(server: DpsServer) -> DpsDevice:
    connector = TlsConnector(server.pki.text, server.pki.identity(DEVICE))
    return DpsDevice(SCOPE, DEVICE, connector, endpoint=server.url)


DONE = {
    "operationId": "4.op",
    "status": "assigned",
    "registrationState": {
        "registrationId": DEVICE, "assignedHub": HUB, "deviceId": DEVICE, "status": "assigned"
    },
}  # fmt: skip
NOW = {"retry-after": "0"}


@pytest.mark.parametrize(
    "poll", [{"status": "assigning"}, {"operationId": "", "status": "assigning"}]
)
def test_poll_without_an_operation_goes_on_with_the_one_that_is_known(
    pki: Pki, by: Deadline, poll: dict[str, object]
) -> None:
    begun = Fault(202, {"operationId": "4.op", "status": "assigning"}, NOW)
    with DpsServer(pki, begun, Fault(202, poll, NOW), Fault(200, DONE)) as server:
        assert register(server, by=by).hub == HUB
        assert len(server.requests) == 3


@pytest.mark.fault(
    "DPS",
    "the service says assigning and names no operation at all, or another one in a poll",
    comes="BadFrame (4); nothing is polled",
    then="run it again, and tell who runs the service",
)
@pytest.mark.parametrize(
    "faults",
    [
        (Fault(202, {"status": "assigning"}, NOW),),
        (
            Fault(202, {"operationId": "4.op", "status": "assigning"}, NOW),
            Fault(202, {"operationId": "4.other", "status": "assigning"}, NOW),
        ),
    ],
    ids=["none", "another"],
)
def test_first_answer_without_an_operation_and_another_s_are_bad_frames(
    pki: Pki, by: Deadline, faults: tuple[Fault, ...]
) -> None:
    with DpsServer(pki, *faults) as server:
        with pytest.raises(BadFrame, match="operation"):
            register(server, by=by)
        assert len(server.requests) == len(faults)
