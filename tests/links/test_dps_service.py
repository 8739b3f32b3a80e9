"""The factory's side of DPS: enrollments are made, found, changed, removed, and let devices in."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from cryptography import x509

from harness.deadline import Deadline
from harness.errors import Misuse
from harness.secret import Secret
from provisioning.dps import DpsDevice
from provisioning.dps_enrollment import Enrollment, Kind
from provisioning.dps_service import DpsService
from provisioning.http_errors import ServiceBusy, ServiceRefused
from provisioning.http_tls import TlsConnector
from tests.links.dps_server import HUB, KEY, DpsServer, Fault
from tests.links.est_pki import Pki, new_key

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


def register(server: DpsServer, by: Deadline, name: str = DEVICE) -> str:
    connector = TlsConnector(server.pki.text, server.pki.identity(name))
    with DpsDevice(SCOPE, name, connector, endpoint=server.url) as device:
        return device.register(by=by).group


def leaf_of(pki: Pki, name: str = DEVICE) -> x509.Certificate:
    return x509.load_pem_x509_certificate((pki.here / f"{name}.pem").read_bytes())


def test_group_lets_in_whoever_its_ca_certified(
    server: DpsServer, service: DpsService, by: Deadline
) -> None:
    with pytest.raises(ServiceRefused, match="CA certificate not found"):
        register(server, by)

    service.ensure(Kind.GROUP, "line-1", server.pki.root, by=by)

    assert register(server, by) == "line-1"


def test_individual_enrollment_lets_in_one_certificate(
    server: DpsServer, service: DpsService, by: Deadline
) -> None:
    connector = TlsConnector(server.pki.text, server.pki.identity(DEVICE))
    leaf = leaf_of(server.pki)
    service.ensure(Kind.INDIVIDUAL, DEVICE, leaf, device_id="Chosen-1", by=by)

    with DpsDevice(SCOPE, DEVICE, connector, endpoint=server.url) as device:
        assigned = device.register(by=by)
    with pytest.raises(ServiceRefused, match="Invalid certificate"):
        register(server, by)  # the same name, another key

    assert (assigned.device_id, assigned.hub) == ("Chosen-1", HUB)


@pytest.mark.parametrize("kind", [Kind.GROUP, Kind.INDIVIDUAL])
def test_enrollment_chooses_the_hub(
    server: DpsServer, service: DpsService, by: Deadline, kind: Kind
) -> None:
    connector = TlsConnector(server.pki.text, server.pki.identity(DEVICE))
    id, of = ("line-1", server.pki.root) if kind is Kind.GROUP else (DEVICE, leaf_of(server.pki))
    service.ensure(kind, id, of, hub="east.azure-devices.net", by=by)

    with DpsDevice(SCOPE, DEVICE, connector, endpoint=server.url) as device:
        first = device.register(by=by)
        service.ensure(kind, id, of, hub="west.azure-devices.net", replace=True, by=by)
        then = device.register(by=by)

    assert (first.hub, then.hub) == ("east.azure-devices.net", "west.azure-devices.net")


def test_hub_that_is_no_host_name_is_refused(
    server: DpsServer, service: DpsService, by: Deadline
) -> None:
    with pytest.raises(ServiceRefused, match="iotHubHostName"):
        service.ensure(Kind.GROUP, "line-1", server.pki.root, hub="east:8883", by=by)


def test_disabled_enrollment_lets_nobody_in(
    server: DpsServer, service: DpsService, by: Deadline
) -> None:
    service.ensure(Kind.GROUP, "line-1", server.pki.root, enabled=False, by=by)

    with pytest.raises(ServiceRefused, match="disabled"):
        register(server, by)


def test_asking_twice_for_an_enrollment_changes_nothing(
    server: DpsServer, service: DpsService, by: Deadline
) -> None:
    first, new = service.ensure(Kind.GROUP, "line-1", server.pki.root, by=by)
    again, new_again = service.ensure(Kind.GROUP, "line-1", server.pki.root, by=by)

    assert (new, new_again) == (True, False)
    assert again == first


def test_enrollment_that_differs_is_changed_only_on_request(
    server: DpsServer, service: DpsService, by: Deadline
) -> None:
    other = server.pki.intermediate("issuing").root
    service.ensure(Kind.GROUP, "line-1", server.pki.root, by=by)

    with pytest.raises(Misuse, match="another certificate"):
        service.ensure(Kind.GROUP, "line-1", other, by=by)
    changed, new = service.ensure(Kind.GROUP, "line-1", other, replace=True, by=by)

    assert new
    assert service.find(Kind.GROUP, "line-1", by=by) == changed


def test_removed_enrollment_is_gone(server: DpsServer, service: DpsService, by: Deadline) -> None:
    service.ensure(Kind.INDIVIDUAL, DEVICE, server.pki.root, by=by)

    assert service.remove(Kind.INDIVIDUAL, DEVICE, by=by)
    assert service.find(Kind.INDIVIDUAL, DEVICE, by=by) is None
    assert not service.remove(Kind.INDIVIDUAL, DEVICE, by=by)


def test_kinds_do_not_get_in_each_others_way(
    server: DpsServer, service: DpsService, by: Deadline
) -> None:
    service.ensure(Kind.GROUP, "same", server.pki.root, by=by)

    assert service.find(Kind.INDIVIDUAL, "same", by=by) is None


def test_enrollment_changed_by_somebody_else_is_not_overwritten(
    server: DpsServer, service: DpsService, by: Deadline
) -> None:
    service.ensure(Kind.GROUP, "line-1", server.pki.root, by=by)
    server.faults.append(Fault(412, only="PUT"))

    with pytest.raises(ServiceRefused, match="412"):
        service.ensure(Kind.GROUP, "line-1", server.pki.root, enabled=False, replace=True, by=by)


@pytest.mark.parametrize("key", [b"d3Jvbmc=", KEY[:-4]])
def test_wrong_key_is_refused(server: DpsServer, by: Deadline, key: bytes) -> None:
    stranger = DpsService(server.url, TlsConnector(server.pki.text), lambda: Secret(key))
    with stranger, pytest.raises(ServiceRefused, match="401"):
        stranger.find(Kind.GROUP, "line-1", by=by)


@pytest.mark.parametrize("key", [b"not base64 !", b""])
def test_key_that_is_none_is_misuse_that_does_not_quote_it(
    server: DpsServer, by: Deadline, key: bytes
) -> None:
    wrong = DpsService(server.url, TlsConnector(server.pki.text), lambda: Secret(key))
    with wrong, pytest.raises(Misuse) as refusal:
        wrong.find(Kind.GROUP, "line-1", by=by)

    assert refusal.value.message == "the shared access key is not base64"
    assert server.requests == []


def test_key_is_in_no_log(
    service: DpsService, server: DpsServer, by: Deadline, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    service.ensure(Kind.GROUP, "line-1", server.pki.root, by=by)

    assert KEY.decode() not in caplog.text
    assert "sig=" not in caplog.text


def test_group_with_a_device_id_is_misuse(service: DpsService, pki: Pki, by: Deadline) -> None:
    with pytest.raises(Misuse, match="group has no device id"):
        service.ensure(Kind.GROUP, "line-1", pki.root, device_id="x", by=by)


def test_what_is_found_is_what_was_given(
    service: DpsService, server: DpsServer, by: Deadline
) -> None:
    leaf = server.pki.issue(new_key().public_key(), DEVICE)

    made, _ = service.ensure(Kind.INDIVIDUAL, DEVICE, leaf, hub=HUB, device_id="d", by=by)
    found = service.find(Kind.INDIVIDUAL, DEVICE, by=by)

    assert (
        found == made == Enrollment(Kind.INDIVIDUAL, DEVICE, made.sha256, True, "d", HUB, made.etag)
    )


def test_a_service_with_too_much_to_do_is_asked_again(pki: Pki, by: Deadline) -> None:
    busy = [Fault(429, headers={"retry-after": "0"}, only=verb) for verb in ("GET", "PUT")]
    with (
        DpsServer(pki, *busy) as server,
        DpsService(server.url, TlsConnector(pki.text), lambda: Secret(KEY)) as service,
    ):
        made, new = service.ensure(Kind.GROUP, "line-3", pki.root, by=by)

        assert (made.id, new) == ("line-3", True)
        assert not server.faults


@pytest.mark.fault(
    "DPS",
    "the service has too much to do (429) beyond the deadline when an enrollment is made",
    comes="ServiceBusy (9) with the seconds that it asked for; nothing was changed",
    then="run it again after that time",
)
def test_a_service_that_is_busy_beyond_the_deadline_is_told_as_busy(pki: Pki) -> None:
    with (
        DpsServer(pki, Fault(429, headers={"retry-after": "3600"})) as server,
        DpsService(server.url, TlsConnector(pki.text), lambda: Secret(KEY)) as service,
        pytest.raises(ServiceBusy, match="come back in 3600") as caught,
    ):
        service.find(Kind.GROUP, "line-3", by=Deadline.after(10))
    assert caught.value.exit_status == 9
    assert len(server.requests) == 1
