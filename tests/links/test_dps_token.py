"""Registration with a key that stays in a token: OpenSSL's handshake, SoftHSM2 for the token.

``far``: the token is at the other end of ``p11-kit remote``, which is how a box's is reached.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import (
    DeadlineExpired,
    DeviceRefused,
    IntegrityFailure,
    Misuse,
    TokenRefused,
    Unreachable,
)
from harness.secret import Secret
from provisioning.dps import DpsDevice
from provisioning.dps_answers import Assigned
from provisioning.est import EstClient
from provisioning.http_errors import ServiceRefused, UntrustedServer
from provisioning.http_token_tls import TokenTlsConnector, judged_ending
from provisioning.http_waiting import pause
from tests.links.dps_server import HUB, DpsServer, Fault
from tests.links.dps_token import PIN, DeviceToken, device_token
from tests.links.est_asking import KEY, REQUEST, p7
from tests.links.est_late import asking_late
from tests.links.est_pki import Pki, new_key, pem_of
from tests.links.est_script import ScriptedServer, answer

pytestmark = pytest.mark.slow

DEVICE = "tb-token-0001"
SCOPE = "0ne00ABCDEF"


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture(params=["near", "far"])
def token(request: pytest.FixtureRequest, tmp_path: Path, pki: Pki) -> Iterator[DeviceToken]:
    far = request.param == "far"
    with device_token(tmp_path / "token", pki, DEVICE, far=far) as made:
        yield made


@pytest.fixture
def near(tmp_path: Path, pki: Pki) -> Iterator[DeviceToken]:
    with device_token(tmp_path / "token", pki, DEVICE, far=False) as made:
        yield made


def register(
    server: DpsServer, token: DeviceToken, *, by: Deadline, trusted: str = "", **other: object
) -> Assigned:
    server.open = True
    identity = replace(token.identity, **other)  # type: ignore[arg-type]
    connector = TokenTlsConnector(token.place, identity, trusted or server.pki.text)
    with DpsDevice(SCOPE, DEVICE, connector, endpoint=server.url) as device:
        return device.register(by=by)


def test_device_registers_with_the_key_in_its_token(
    token: DeviceToken, pki: Pki, by: Deadline
) -> None:
    with DpsServer(pki, polls=2) as server:
        done = register(server, token, by=by)

    assert done.hub == HUB
    assert server.subjects[0] == token.leaf.subject.rfc4514_string()
    assert server.handshakes == 1


def test_pin_is_in_no_command_line_no_environment_and_no_file(
    near: DeviceToken, pki: Pki, by: Deadline
) -> None:
    connector = TokenTlsConnector(near.place, near.identity, pki.text)
    with DpsServer(pki) as server:
        connection = connector.connect("localhost", server.port, by=by)
        connection.send(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", by=by)
        assert connection.receive(100, by=by).startswith(b"HTTP/1.1 ")
        seen = b""
        for process in Path("/proc").glob("[0-9]*"):
            for name in ("cmdline", "environ"):
                try:
                    seen += (process / name).read_bytes()
                except OSError:
                    continue
        connection.close()
    files = b"".join(p.read_bytes() for p in Path(near.place.path("")).glob("*"))

    assert b"s_client" in seen
    assert PIN.reveal() not in seen + files


def test_request_that_follows_the_pin_at_once_is_not_swallowed(
    near: DeviceToken, pki: Pki, by: Deadline
) -> None:
    connector = TokenTlsConnector(near.place, near.identity, pki.text)
    request = b"PUT /1 HTTP/1.1\r\ncontent-length: 30000\r\n\r\n" + b"Q\n" * 15_000
    with ScriptedServer(pki, answer(b"x" * 30_000)) as server:
        connection = connector.connect("localhost", server.port, by=by)
        connection.send(request, by=by)
        got = b""
        while data := connection.receive(65536, by=by):
            got += data
        connection.close()

    assert server.requests == [request]
    assert got.endswith(b"x" * 30_000)


def test_wrong_pin_is_the_tokens_refusal_and_costs_one_try(
    near: DeviceToken, pki: Pki, by: Deadline
) -> None:
    asked: list[None] = []

    def wrong() -> Secret:
        asked.append(None)
        return Secret(b"not-the-pin")

    with DpsServer(pki) as server, pytest.raises(TokenRefused, match="CKR_PIN_INCORRECT"):
        register(server, near, by=by, pin=wrong)

    assert len(asked) == 1
    assert server.subjects == []


def test_key_that_is_not_there_is_the_tokens_refusal(
    near: DeviceToken, pki: Pki, by: Deadline
) -> None:
    with DpsServer(pki) as server, pytest.raises(DeviceRefused, match="key in the token"):
        register(server, near, by=by, key=replace(near.identity.key, id=b"another"))


@pytest.mark.parametrize("pin", [b"", b"12\n34", b"12\0"])
def test_pin_that_cannot_be_handed_over_is_misuse(
    near: DeviceToken, pki: Pki, by: Deadline, pin: bytes
) -> None:
    with DpsServer(pki) as server, pytest.raises(Misuse, match="PIN"):
        register(server, near, by=by, pin=lambda: Secret(pin))


def test_server_of_another_root_gets_nothing(
    near: DeviceToken, pki: Pki, tmp_path: Path, by: Deadline
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Pki.make(tmp_path / "other", "another root")
    with DpsServer(pki) as server, pytest.raises(UntrustedServer):
        register(server, near, by=by, trusted=stranger.text)

    assert (server.requests, server.subjects) == ([], [])


def test_server_of_another_name_gets_nothing(near: DeviceToken, pki: Pki, by: Deadline) -> None:
    connector = TokenTlsConnector(near.place, near.identity, pki.text)
    with DpsServer(pki) as server:
        named = server.url.replace("localhost", "127.0.0.2")
        with (
            DpsDevice(SCOPE, DEVICE, connector, endpoint=named) as device,
            pytest.raises((UntrustedServer, Unreachable)),
        ):
            device.register(by=by)

    assert server.requests == []


def test_certificate_of_a_stranger_is_refused_in_tls(
    near: DeviceToken, pki: Pki, tmp_path: Path, by: Deadline
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Pki.make(tmp_path / "other", "another root")
    with DpsServer(pki, trusted=stranger.text) as server, pytest.raises(ServiceRefused):
        register(server, near, by=by)


def test_certificate_of_another_key_does_not_connect(
    near: DeviceToken, pki: Pki, by: Deadline
) -> None:
    other = pki.issue(KEY.public_key(), DEVICE)

    with DpsServer(pki) as server, pytest.raises(IntegrityFailure, match="another key"):
        register(server, near, by=by, chain=pem_of(other))

    assert server.subjects == []


def test_nobody_there_is_unreachable(near: DeviceToken, pki: Pki, by: Deadline) -> None:
    with DpsServer(pki) as server:
        pass
    with pytest.raises(Unreachable):
        register(server, near, by=by)


def test_trouble_on_the_way_makes_another_handshake(
    near: DeviceToken, pki: Pki, by: Deadline
) -> None:
    with DpsServer(pki, Fault(0, cut=True)) as server:
        assert register(server, near, by=by).hub == HUB

    assert server.handshakes == 2


def test_tunnel_changes_the_way_but_not_the_name(near: DeviceToken, pki: Pki, by: Deadline) -> None:
    service = new_key()
    named = pki.issue(service.public_key(), "x", host="dps.example")
    (pki.here / "server.pem").write_text(pem_of(named))
    pki.rekey(service)
    with DpsServer(pki) as server:
        server.open = True
        via = f"127.0.0.1:{server.port}"
        connector = TokenTlsConnector(near.place, near.identity, pki.text, via=via)
        with DpsDevice(SCOPE, DEVICE, connector, endpoint="https://dps.example") as device:
            assert device.register(by=by).hub == HUB
        with (
            DpsDevice(SCOPE, DEVICE, connector, endpoint="https://other.example") as device,
            pytest.raises(UntrustedServer),
        ):
            device.register(by=by)


def test_silent_server_ends_with_the_deadline(near: DeviceToken, pki: Pki) -> None:
    def be_silent(secured: ssl.SSLSocket, request: bytes) -> None:
        secured.recv(1)  # until the client has had enough

    connector = TokenTlsConnector(near.place, near.identity, pki.text)
    with (
        ScriptedServer(pki, be_silent) as server,
        EstClient(server.url, connector) as client,
        pytest.raises(DeadlineExpired, match=r"localhost:\d+ to answer"),
    ):
        client.cacerts(by=Deadline.after(1.5))


@pytest.mark.parametrize("first", [b"Q", b"R", b"k", b"K", b"B", b"C"])
def test_no_letter_of_a_request_is_a_command_to_openssl(
    near: DeviceToken, pki: Pki, by: Deadline, first: bytes
) -> None:
    connector = TokenTlsConnector(near.place, near.identity, pki.text)
    with ScriptedServer(pki, answer(b"got it")) as server:
        connection = connector.connect("localhost", server.port, by=by)
        connection.send(b"PUT /1 HTTP/1.1\r\ncontent-length: 2\r\n\r\n", by=by)
        pause(0.3, "openssl to send the head alone", by=by)
        connection.send(first + b"\n", by=by)
        got = connection.receive(65536, by=by)
        connection.close()

    assert got.startswith(b"HTTP/1.1 200")
    assert server.requests[0].endswith(first + b"\n")


def test_est_goes_the_same_way(near: DeviceToken, pki: Pki, by: Deadline) -> None:
    leaf = pki.issue(KEY.public_key(), "tb-trap-0001")
    connector = TokenTlsConnector(near.place, near.identity, pki.text)
    with (
        ScriptedServer(pki, answer(p7(leaf))) as server,
        EstClient(server.url, connector) as client,
    ):
        made = client.enroll(REQUEST, by=by)

    assert getattr(made, "certificate", None) == leaf


def test_silence_of_openssl_is_a_good_end() -> None:
    assert judged_ending("h:1", " \n") is None


def test_a_certificate_that_is_asked_for_after_the_handshake_is_shown_by_the_token(
    pki: Pki, near: DeviceToken, by: Deadline
) -> None:
    connector = TokenTlsConnector(near.place, near.identity, pki.text)
    with (
        ScriptedServer(pki, asking_late, asks_later=True) as server,
        EstClient(server.url, connector) as client,
        pytest.raises(ServiceRefused, match=rf"418.*{DEVICE}"),
    ):
        client.enroll(REQUEST, by=by)
