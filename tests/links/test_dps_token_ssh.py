"""The handshake with the key in a token is made at the other end of SSH, as on a box."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DeviceRefused
from harness.ssh import SshShell
from harness.target import Stream
from provisioning.dps import DpsDevice
from provisioning.http_place import BoxPlace
from provisioning.http_token_tls import TokenTlsConnector
from provisioning.http_waiting import pause
from tests.links.dps_server import HUB, DpsServer
from tests.links.dps_token import DeviceToken, device_token
from tests.links.est_pki import Pki

pytestmark = pytest.mark.slow

DEVICE = "tb-token-0001"
SCOPE = "0ne00ABCDEF"


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture
def near(tmp_path: Path, pki: Pki) -> Iterator[DeviceToken]:
    with device_token(tmp_path / "token", pki, DEVICE, far=False) as made:
        yield made


def test_handshake_is_made_where_the_token_is_over_ssh(
    near: DeviceToken, pki: Pki, ssh: SshShell, place: str, by: Deadline
) -> None:
    """As on a box: its OpenSSL, its module, its network; only SSH in between."""
    box = BoxPlace(ssh, WithEnvironment(ssh, near.remote.environment), below=place, by=by)
    connector = TokenTlsConnector(box, near.identity, pki.text)
    with DpsServer(pki) as server:
        server.open = True
        with DpsDevice(SCOPE, DEVICE, connector, endpoint=server.url) as device:
            assert device.register(by=by).hub == HUB
    box.close()

    assert [p for p in Path(place).iterdir() if p.name.startswith("trustbox-tls-")] == []


def test_refusal_is_understood_over_ssh(
    near: DeviceToken, pki: Pki, ssh: SshShell, place: str, by: Deadline
) -> None:
    box = BoxPlace(ssh, WithEnvironment(ssh, near.remote.environment), below=place, by=by)
    wrong = replace(near.identity, key=replace(near.identity.key, id=b"another"))
    with (
        DpsServer(pki) as server,
        DpsDevice(
            SCOPE, DEVICE, TokenTlsConnector(box, wrong, pki.text), endpoint=server.url
        ) as device,
        pytest.raises(DeviceRefused, match="key in the token"),
    ):
        device.register(by=by)


class WithEnvironment:
    """SSH gives programs no environment of ours; SoftHSM, unlike a box's module, needs one."""

    def __init__(self, ssh: SshShell, environment: dict[str, str]) -> None:
        self._ssh = ssh
        self._words = ["env", *(f"{name}={value}" for name, value in environment.items())]

    def stream(self, *argv: str, by: Deadline, secret: bool = False) -> Stream:
        return self._ssh.stream(*self._words, *argv, by=by, secret=secret)


def test_nothing_stays_running_over_ssh(
    near: DeviceToken, pki: Pki, ssh: SshShell, place: str, by: Deadline
) -> None:
    box = BoxPlace(ssh, WithEnvironment(ssh, near.remote.environment), below=place, by=by)
    with DpsServer(pki) as server:
        connection = TokenTlsConnector(box, near.identity, pki.text).connect(
            "localhost", server.port, by=by
        )
        connection.send(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", by=by)
        connection.receive(100, by=by)
        assert running(place)
        connection.close()
        soon = Deadline.after(12)  # the server itself would close it after 20 s
        while running(place):
            pause(0.05, "openssl to end", by=soon)


def running(place: str) -> list[Path]:
    """Processes whose command line names this directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if place.encode() in (entry / "cmdline").read_bytes():
                found.append(entry)
        except OSError:
            continue
    return found
