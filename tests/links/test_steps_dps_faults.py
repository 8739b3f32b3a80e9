"""What a provisioning service's faults do to a run: the error, and what is left on both sides.

The box registers by a TLS handshake with the key in its token. Every row is followed by a run with
a good service, which must complete; the box itself is the same before and after.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography import x509

from harness.errors import BadFrame, DeadlineExpired, IntegrityFailure, TrustBoxError
from provisioning.http_errors import ServiceBusy, ServiceRefused, UntrustedServer
from provisioning.local_dps import HUB
from provisioning.local_dps_store import Registration
from provisioning.plan import Plan
from provisioning.run import Outcome, Provisioned
from provisioning.station import Station
from provisioning.work import Work
from tests.fault_rows import marked
from tests.links import dps_fault_marks as marks
from tests.links.dps_server import DpsServer, Fault
from tests.links.est_pki import Pki
from tests.links.host_box import DEVICE, SERIAL, HostBox, host_box, last_words, recorded
from tests.links.sshd import LocalSshd

pytestmark = pytest.mark.slow

OPERATION = "dps-operation.json"
ASSIGNED: dict[str, object] = {
    "registrationId": DEVICE,
    "assignedHub": HUB,
    "deviceId": DEVICE,
    "status": "assigned",
}


@dataclass(frozen=True)
class Line:
    """A box with its certificate, its station, and the CA's certificates (PEM)."""

    box: HostBox
    station: Station
    pki: Pki
    trusted: str
    earlier: Work

    @property
    def issuing(self) -> x509.Certificate:
        place = self.station.state / "ca" / "issuing.pem"
        return x509.load_pem_x509_certificate(place.read_bytes())

    @property
    def records(self) -> Path:
        return self.station.records(SERIAL)

    def plan(self, server: DpsServer, trusted: Path | None = None) -> Plan:
        root = trusted or self.pki.here / "ca.pem"
        return self.box.plan(
            f'[enrollment.dps]\nservice = "{server.url}"\nid_scope = "0ne00ABCDEF"\n'
            f'trusted = "{root}"\n'
        )

    def server(self, *faults: Fault, **more: object) -> DpsServer:
        made = DpsServer(self.pki, *faults, trusted=self.trusted, **more)  # type: ignore[arg-type]
        made.open = True
        return made

    def run(self, server: DpsServer, seconds: float = 20.0) -> Provisioned:
        return self.register(self.plan(server), seconds)

    def register(self, plan: Plan, seconds: float = 20.0) -> Provisioned:
        return self.box.register(plan, self.station, earlier=self.earlier, seconds=seconds)


@pytest.fixture(scope="module")
def ground(sshd: LocalSshd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    pki, station = Pki.make(tmp_path_factory.mktemp("pki")), Station(tmp_path_factory.mktemp("st"))
    with host_box(sshd, tmp_path_factory.mktemp("box")) as box:
        done = box.run(box.plan(""), station)
        ca = station.state / "ca"
        trusted = (ca / "root.pem").read_text()
        yield Line(box, station, pki, trusted, done.work)


@pytest.fixture
def line(ground: Line) -> Line:
    for name in (OPERATION, "record.json", "journal.jsonl"):
        (ground.records / name).unlink(missing_ok=True)
    return ground


def outcome(done: Provisioned) -> Outcome:
    return next(report.outcome for report in done.reports if report.name == "register")


@dataclass(frozen=True)
class Row:
    """One fault, at the registration if not said otherwise. ``kept``: an operation is kept.

    ``registered``: the service knows the box all the same, so that nothing is left to do.
    """

    fault: Fault | None
    raises: type[TrustBoxError]
    said: str
    kept: bool = False
    registered: bool = False
    seconds: float = 20.0
    more: dict[str, object] = field(default_factory=dict)


def at_register(status: int, **more: object) -> Fault:
    return Fault(status, only="PUT", **more)  # type: ignore[arg-type]


def at_poll(status: int, body: object = None, **more: object) -> Fault:
    return Fault(status, body, only="GET", **more)  # type: ignore[arg-type]


def ends(status: str, **state: object) -> dict[str, object]:
    return {"outcome": {"status": status, **state}}


def assigned(**state: object) -> Fault:
    body = {"operationId": "4.a", "status": "assigned", "registrationState": {**ASSIGNED, **state}}
    return at_register(200, body=body)


def begun(raises: type[TrustBoxError], said: str, seconds: float = 20.0, **more: object) -> Row:
    return Row(None, raises, said, kept=True, registered=True, seconds=seconds, more=more)


LATER = {"retry-after": "3600"}
TWICE = b'{"operationId": "4.a", "operationId": "4.b", "status": "assigning"}'
NAN = b'{"operationId": "4.a", "status": "assigning", "n": NaN}'
HTML = {"content-type": "text/html"}
GZIP = {"content-encoding": "gzip"}
CUSTOM = {"errorCode": 400209, "errorMessage": "Custom allocation failed with status code: 401"}
OTHER = {"operationId": "4.other", "status": "assigning"}

ROWS = {
    "401002": Row(at_register(401, code=401002), ServiceRefused, "401002"),
    "403": Row(at_register(403), ServiceRefused, "403"),
    "404": Row(at_register(404), ServiceRefused, "404"),
    "409": Row(at_register(409), ServiceRefused, "409"),
    "415": Row(at_register(415), ServiceRefused, "415"),
    "302": Row(at_register(302, headers={"location": "https://x:1/"}), ServiceRefused, "302"),
    "429 for an hour": Row(at_register(429, headers=LATER), ServiceBusy, "come back in 3600"),
    "503 for an hour": Row(at_register(503, headers=LATER), ServiceBusy, "503"),
    "poll refused": Row(at_poll(401), ServiceRefused, "401", registered=True),
    "poll busy": Row(
        at_poll(429, headers=LATER), ServiceBusy, "come back in", kept=True, registered=True
    ),
    "assigning, asked again in an hour": begun(ServiceBusy, "back in 3600 s", retry_after="3600"),
    "assigning, asked again in 10^9 s": begun(
        ServiceBusy, "in 2592000 s", retry_after="1000000000"
    ),
    "assigning for ever": begun(DeadlineExpired, "still says assigning after", 3.0, polls=-1),
    "disabled": Row(None, ServiceRefused, "disabled", more=ends("disabled")),
    "unassigned": Row(None, ServiceRefused, "not assigned", more=ends("unassigned")),
    "failed": Row(None, ServiceRefused, "400209", more=ends("failed", **CUSTOM)),
    "unknown status": Row(at_register(202, body={"status": "thinking"}), BadFrame, "unknown"),
    "no operation": Row(at_register(202, body={"status": "assigning"}), BadFrame, "no operation"),
    "another operation": Row(
        at_poll(200, OTHER), BadFrame, "another operation", kept=True, registered=True
    ),
    "a key twice": Row(at_register(202, body=TWICE), BadFrame, "not JSON"),
    "NaN": Row(at_register(202, body=NAN), BadFrame, "not JSON"),
    "HTML": Row(at_register(200, body=b"<html>", headers=HTML), BadFrame, "said to be text/html"),
    "gzip": Row(at_register(200, body=b"\x1f\x8b", headers=GZIP), BadFrame, "packed"),
    "no hub": Row(assigned(assignedHub=""), BadFrame, "no host name"),
    "hub with a port": Row(assigned(assignedHub=f"{HUB}:8883"), BadFrame, "no host name"),
    "another device": Row(assigned(registrationId="tb-other"), IntegrityFailure, "answered about"),
    "look-up of another device": Row(
        Fault(200, {**ASSIGNED, "registrationId": "tb-other"}, only="POST"),
        IntegrityFailure,
        "answered about",
    ),
    "assigned, then forgotten": Row(assigned(), IntegrityFailure, "now knows nothing of it"),
}


@pytest.mark.parametrize("row", marked(ROWS, marks.REFUSALS))
def test_fault_leaves_no_record_and_a_second_run_completes(line: Line, row: Row) -> None:
    before = line.box.chain.read_bytes()
    faults = (row.fault,) if row.fault else ()
    with line.server(*faults, **row.more) as server:
        with pytest.raises(row.raises, match=row.said):
            line.run(server, row.seconds)
        assert last_words(line.station) == ("register", "failed")
        assert not (line.records / "record.json").exists()
        assert (line.records / OPERATION).exists() is row.kept
        server.faults.clear()
        server.outcome, server.polls, server.retry_after = {}, 0, "0"
        if row.kept:
            kept = json.loads((line.records / OPERATION).read_text())
            known = server.store.registration(DEVICE)
            assert known is not None
            assert kept["operation"] == known.operation
            server.assigned(DEVICE)
        done = line.run(server)

    assert outcome(done) is (Outcome.ALREADY if row.registered else Outcome.DONE)
    assert recorded(line.station, "enrollment", "hub") == HUB
    assert not (line.records / OPERATION).exists()
    assert line.box.chain.read_bytes() == before
    assert line.box.left_in_run() == []


GOOD_IN_THE_END: dict[str, tuple[Fault | None, int]] = {
    "429": (at_register(429, headers={"retry-after": "0"}), 1),
    "500": (at_register(500), 1),
    "412": (at_register(412), 1),
    "operation gone": (at_poll(404), 1),
    "500 at a poll": (at_poll(500), 1),
    "cut": (at_register(0, cut=True), 1),
    "at once": (None, 0),
    "three polls": (None, 3),
}


@pytest.mark.parametrize("row", marked(GOOD_IN_THE_END, marks.PASSING))
def test_passing_fault_is_waited_for_in_the_run(line: Line, row: tuple[Fault | None, int]) -> None:
    fault, polls = row
    with line.server(*((fault,) if fault else ()), polls=polls) as server:
        done = line.run(server)

    assert outcome(done) is Outcome.DONE
    assert (recorded(line.station, "enrollment", "hub"), server.faults) == (HUB, [])


@marks.STOPPED
@pytest.mark.parametrize(
    "name", ["4.dd5e9d546d057f12.8a2a-1010", "a/b c", "%2e%2e", "4." + "x" * 400]
)
def test_operation_of_a_stopped_run_is_polled_and_nothing_begun_anew(line: Line, name: str) -> None:
    with line.server() as server:
        whom = {"service": server.url, "id_scope": "0ne00ABCDEF", "registration_id": DEVICE}
        (line.records / OPERATION).write_text(json.dumps({**whom, "operation": name}))
        server.store.register(DEVICE, Registration(name, 1, ASSIGNED))
        server.faults.append(Fault(404, only="POST"))  # the look-up comes before the assignment
        done = line.run(server)

    assert outcome(done) is Outcome.DONE
    assert [r.split()[0] for r in server.requests] == ["POST", "GET", "GET", "POST"]


def test_operation_of_another_service_is_not_asked_for(line: Line) -> None:
    other = {"service": "https://elsewhere", "id_scope": "0ne00ABCDEF", "registration_id": DEVICE}
    (line.records / OPERATION).write_text(json.dumps({**other, "operation": "4.theirs"}))

    with line.server() as server:
        line.run(server)

    assert not any("theirs" in request for request in server.requests)


@marks.MOVED
def test_box_that_is_sent_to_another_hub_is_noted_there(line: Line) -> None:
    with line.server() as server:
        line.run(server)
        moved = {**ASSIGNED, "assignedHub": "other.azure-devices.net"}
        known = server.store.registration(DEVICE)
        assert known is not None
        server.store.register(DEVICE, replace(known, state=moved))
        done = line.run(server)

    assert outcome(done) is Outcome.ALREADY
    assert recorded(line.station, "enrollment", "hub") == "other.azure-devices.net"


@marks.UNTRUSTED
def test_service_that_is_not_to_be_trusted_is_told_nothing(line: Line, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_text(line.trusted)
    with line.server() as server, pytest.raises(UntrustedServer):
        line.register(line.plan(server, other))

    assert server.requests == []
    assert not (line.records / "record.json").exists()


@marks.NOT_ENROLLED
def test_box_whose_ca_is_not_enrolled_is_refused_and_says_what_to_look_at(line: Line) -> None:
    with line.server() as server:
        server.open = False
        with pytest.raises(ServiceRefused, match="401002") as no:
            line.run(server)
        server.enrollments.enroll_group("line-1", line.issuing)
        done = line.run(server)

    assert "intermediate" in no.value.hint
    assert recorded(line.station, "enrollment", "group") == "line-1"
    assert outcome(done) is Outcome.DONE
