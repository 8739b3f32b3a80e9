"""Who trusts whom in DPS registration: certificates, chains, names."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import (
    Misuse,
)
from provisioning.dps import DpsDevice
from provisioning.http_errors import ServiceRefused, UntrustedServer
from provisioning.http_tls import TlsConnector
from tests.links.dps_server import HUB, DpsServer
from tests.links.est_pki import Pki, pem_of

pytestmark = pytest.mark.slow

DEVICE = "tb-dps-0001"
SCOPE = "0ne00ABCDEF"


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(30)


def test_certificate_of_a_ca_that_the_service_does_not_know_is_refused(
    pki: Pki, tmp_path: Path, by: Deadline
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Pki.make(tmp_path / "other", "another root")
    with DpsServer(pki) as server:
        connector = TlsConnector(pki.text, stranger.identity(DEVICE))
        with (
            DpsDevice(SCOPE, DEVICE, connector, endpoint=server.url) as device,
            pytest.raises(ServiceRefused, match="TLS"),
        ):
            device.register(by=by)

    assert server.requests == []


def test_certificate_of_another_device_is_refused(pki: Pki, by: Deadline) -> None:
    with DpsServer(pki) as server:
        server.open = True
        connector = TlsConnector(pki.text, pki.identity("tb-other"))
        with (
            DpsDevice(SCOPE, DEVICE, connector, endpoint=server.url) as device,
            pytest.raises(ServiceRefused) as refusal,
        ):
            device.register(by=by)

    assert refusal.value.code == "401002"


def test_missing_intermediate_is_refused_and_with_it_all_is_well(pki: Pki, by: Deadline) -> None:
    below = pki.intermediate("issuing")
    without, whole = below.identity(DEVICE), None
    with DpsServer(pki) as server:
        server.open = True
        lacking = DpsDevice(SCOPE, DEVICE, TlsConnector(pki.text, without), endpoint=server.url)
        with lacking, pytest.raises(ServiceRefused):
            lacking.register(by=by)
        whole = below.identity(DEVICE, above=pem_of(below.root))
        connector = TlsConnector(pki.text, whole)
        with DpsDevice(SCOPE, DEVICE, connector, endpoint=server.url) as device:
            assert device.register(by=by).hub == HUB


def test_service_of_another_root_is_not_talked_to(pki: Pki, tmp_path: Path, by: Deadline) -> None:
    (tmp_path / "other").mkdir()
    stranger = Pki.make(tmp_path / "other", "another root")
    with DpsServer(pki) as server:
        connector = TlsConnector(stranger.text, pki.identity(DEVICE))
        with (
            DpsDevice(SCOPE, DEVICE, connector, endpoint=server.url) as device,
            pytest.raises(UntrustedServer),
        ):
            device.register(by=by)

    assert server.requests == []


def test_device_that_never_registered_is_unknown(pki: Pki, by: Deadline) -> None:
    with DpsServer(pki) as server:
        server.open = True
        connector = TlsConnector(pki.text, pki.identity(DEVICE))
        with DpsDevice(SCOPE, DEVICE, connector, endpoint=server.url) as device:
            assert device.look_up(by=by) is None
            device.register(by=by)
            found = device.look_up(by=by)

    assert found is not None
    assert found.status == "assigned"


@pytest.mark.parametrize("id", ["", "x" * 129, "-a", "a-", "a/b", "a b", "\u0430", ".a", "a\n"])
def test_registration_id_that_no_service_takes_is_misuse(id: str) -> None:
    with pytest.raises(Misuse, match="registration id"):
        DpsDevice(SCOPE, id, TlsConnector())


@pytest.mark.parametrize("scope", ["", "0ne/..", "0ne 1", "x" * 65])
def test_id_scope_that_is_none_is_misuse(scope: str) -> None:
    with pytest.raises(Misuse, match="ID scope"):
        DpsDevice(scope, DEVICE, TlsConnector())
