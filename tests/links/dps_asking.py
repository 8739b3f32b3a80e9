"""A device that registers at the DPS server of the tests, which then lets in whom it trusts."""

from __future__ import annotations

from harness.deadline import Deadline
from provisioning.dps import DpsDevice
from provisioning.dps_answers import Assigned
from provisioning.http_tls import TlsConnector
from tests.links.dps_server import DpsServer

DEVICE = "tb-dps-0001"
SCOPE = "0ne00ABCDEF"


def register(server: DpsServer, *, by: Deadline, operation: str = "") -> Assigned:
    server.open = True
    connector = TlsConnector(server.pki.text, server.pki.identity(DEVICE))
    with DpsDevice(SCOPE, DEVICE, connector, endpoint=server.url) as device:
        return device.register(by=by, operation=operation)
