"""What is wished of an enrollment comes true, and what nobody wished stays as it is."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.deadline import Deadline
from harness.errors import Misuse
from harness.secret import Secret
from provisioning.certificates import der
from provisioning.dps_enrollment import Allocation, Kind, Reprovision, Wish
from provisioning.dps_service import DpsService
from provisioning.http_client import Http
from provisioning.http_errors import ServiceRefused
from provisioning.http_tls import TlsConnector
from provisioning.local_dps_forms import certificates_of
from provisioning.local_http import Asked, Told
from tests.links.dps_server import HUB, KEY, DpsServer
from tests.links.est_pki import Pki

pytestmark = pytest.mark.slow

DEVICE = "tb-dps-0007"
SCOPE = "0ne00ABCDEF"


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(30)


@pytest.fixture
def server(pki: Pki) -> Iterator[DpsServer]:
    with DpsServer(pki) as running:
        yield running


@pytest.fixture
def service(server: DpsServer) -> Iterator[DpsService]:
    with DpsService(server.url, TlsConnector(server.pki.text), lambda: Secret(KEY)) as made:
        yield made


OURS = Wish(
    edge=True,
    twin={"tags": {"line": 3}, "properties": {"desired": {"led": "on"}}},
    allocation=Allocation.GEO_LATENCY,
    reprovision=Reprovision.RESET,
    hub=HUB,
)


@pytest.mark.parametrize("kind", [Kind.GROUP, Kind.INDIVIDUAL])
def test_all_that_was_wished_is_there_and_wished_again_changes_nothing(
    server: DpsServer, service: DpsService, by: Deadline, kind: Kind
) -> None:
    made, _ = service.ensure(kind, DEVICE, server.pki.root, by=by, **OURS)
    again, changed = service.ensure(kind, DEVICE, server.pki.root, by=by, **OURS)

    assert (again, changed, made.edge) == (made, False, True)
    assert made.found["initialTwin"] == OURS["twin"]
    assert made.found["allocationPolicy"] == "geoLatency"
    assert made.found["reprovisionPolicy"] == {
        "updateHubAssignment": True,
        "migrateDeviceData": False,
    }


@pytest.mark.fault(
    "DPS",
    "trustbox dps enroll --replace of an enrollment in which others set fields, too",
    comes="what no option names stays: twin, policies, webhook, IoT Edge, unknown fields",
    then="nothing; trustbox dps show has all of it",
)
@pytest.mark.parametrize(
    "wish", [Wish(enabled=False), Wish(edge=False), Wish(hub="other.azure-devices.net"), Wish()]
)
def test_field_that_nobody_wished_is_kept_on_a_change(
    server: DpsServer, service: DpsService, by: Deadline, wish: Wish
) -> None:
    """The certificate is another one, and some fields are ones that we have no word for."""
    ours = OURS.copy()
    ours["allocation"], ours["webhook"] = Allocation.CUSTOM, ("https://hook.example/", "2021-10-01")
    before, _ = service.ensure(Kind.GROUP, "line-1", server.pki.root, by=by, **ours)
    kept = server.store.enrollment(True, "line-1")
    assert kept is not None
    more = {**kept.body, "iotHubs": ["a.azure-devices.net"], "ofTomorrow": {"x": 1}}
    assert server.store.keep(replace(kept, body=more), was=kept)
    other = server.pki.intermediate("issuing").root

    after, _ = service.ensure(Kind.GROUP, "line-1", other, replace=True, by=by, **wish)

    always = {"attestation", "etag", "lastUpdatedDateTimeUtc"}
    changed = {k for k, v in after.found.items() if v != {**before.found, **more}.get(k)} - always
    named = {"enabled": "provisioningStatus", "edge": "capabilities", "hub": "iotHubHostName"}
    assert changed == {named[key] for key in wish}
    assert set(before.found) | {"iotHubs", "ofTomorrow"} == set(after.found)
    assert after.sha256 != before.sha256


def test_secondary_certificate_of_a_roll_over_stays(
    server: DpsServer, service: DpsService, by: Deadline
) -> None:
    first, second, third = (server.pki.intermediate(f"issuing {n}").root for n in range(3))
    service.ensure(Kind.GROUP, "line-1", first, by=by)
    kept = server.store.enrollment(True, "line-1")
    assert kept is not None
    slots = {
        name: {"certificate": base64.b64encode(der(one)).decode()}
        for name, one in (("primary", first), ("secondary", second))
    }
    body = {**kept.body, "attestation": {"type": "x509", "x509": {"signingCertificates": slots}}}
    assert server.store.keep(replace(kept, body=body), was=kept)

    made, _ = service.ensure(Kind.GROUP, "line-1", third, replace=True, by=by)

    found = server.store.enrollment(True, "line-1")
    assert found is not None
    assert certificates_of(True, found.body) == {"primary": third, "secondary": second}
    assert made.sha256 == hashlib.sha256(der(third)).hexdigest()


@pytest.mark.fault(
    "DPS",
    "somebody makes or changes the same enrollment at the same moment",
    comes="ServiceRefused (412), status 6; theirs is not overwritten",
    then="trustbox dps show, then run it again",
)
@pytest.mark.parametrize("there", [False, True], ids=["made", "changed"])
def test_enrollment_that_somebody_else_makes_meanwhile_is_not_overwritten(
    pki: Pki, by: Deadline, there: bool
) -> None:
    theirs = pki.intermediate("theirs").root

    class Raced(DpsServer):
        """Between our look and our change somebody else is quicker."""

        def answer(self, asked: Asked) -> Told:
            if asked.method == "PUT":
                self.enrollments.enroll_group("line-1", theirs)
            return super().answer(asked)

    with (
        Raced(pki) as server,
        DpsService(server.url, TlsConnector(pki.text), lambda: Secret(KEY)) as service,
    ):
        if there:
            server.enrollments.enroll_group("line-1", pki.root)
        mine = pki.intermediate("mine").root
        with pytest.raises(ServiceRefused, match="412") as refused:
            service.ensure(Kind.GROUP, "line-1", mine, replace=True, by=by)
        found = service.find(Kind.GROUP, "line-1", by=by)

    assert "nothing was overwritten" in refused.value.hint
    assert found is not None
    assert found.sha256 == hashlib.sha256(der(theirs)).hexdigest()


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(allocation=Allocation.CUSTOM), "need each other"),
        (Wish(webhook=("https://hook.example/", "2021-10-01")), "need each other"),
        (
            Wish(allocation=Allocation.CUSTOM, webhook=("http://hook.example/", "2021-10-01")),
            "must be an https URL",
        ),
        (Wish(twin={"desired": {}}), "another form"),
        (Wish(twin={"properties": {"reported": {}}}), "another form"),
    ],
)
def test_wishes_that_do_not_go_together_are_misuse_before_anybody_is_asked(
    server: DpsServer, service: DpsService, by: Deadline, wish: Wish, said: str
) -> None:
    with pytest.raises(Misuse, match=said):
        service.ensure(Kind.GROUP, "line-1", server.pki.root, by=by, **wish)

    assert server.requests == []


def test_group_of_the_station_becomes_one_for_iot_edge_and_keeps_the_rest(
    server: DpsServer, service: DpsService, by: Deadline
) -> None:
    server.enrollments.enroll_group("factory", server.pki.root)
    service.ensure(Kind.GROUP, "factory", server.pki.root, hub=HUB, replace=True, by=by)
    server.enrollments.enroll_group("factory", server.pki.root, edge=True)
    server.enrollments.enroll_group("factory", server.pki.root)

    found = service.find(Kind.GROUP, "factory", by=by)

    assert found is not None
    assert (found.edge, found.hub) == (True, HUB)


@pytest.mark.parametrize(
    "token",
    [
        "SharedAccessSignature sr=localhost&sig=x&se=%C2%B2&skn=p",
        "SharedAccessSignature sr=localhost&sig=%E2%82%AC&se=99999999999&skn=p",
        "SharedAccessSignature %73r=localhost&sig=x&se=99999999999&skn=p",
        "SharedAccessSignature",
    ],
)
def test_signature_of_any_form_is_401_and_no_fault_of_the_station(
    server: DpsServer, by: Deadline, token: str
) -> None:
    http = Http(server.url, TlsConnector(server.pki.text))
    answer = http.request(
        "GET",
        "/enrollmentGroups/x?api-version=2021-10-01",
        by=by,
        headers={"authorization": token},
    )
    http.close()

    assert (answer.status, answer.header("x-ms-error-code")) == (401, "401000")


def test_registration_says_where_its_operation_is(server: DpsServer, by: Deadline) -> None:
    server.open = True
    mine = server.pki.identity(DEVICE)
    http = Http(server.url, TlsConnector(server.pki.text, mine))
    path = f"/{SCOPE}/registrations/{DEVICE}/register?api-version=2021-06-01"
    body = b'{"registrationId": "' + DEVICE.encode() + b'"}'
    kind = {"content-type": "application/json"}
    begun = http.request("PUT", path, by=by, headers=kind, body=body)
    where = begun.header("location").removeprefix(server.url)
    polled = http.request("GET", where, by=by)
    http.close()

    assert (begun.status, polled.status) == (202, 202)
