"""The way to an EST server: HTTP, TLS, time and size, login; each fault and its error."""

from __future__ import annotations

import base64
import datetime
import logging
import ssl
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from harness.deadline import Deadline
from harness.errors import (
    BadFrame,
    DeadlineExpired,
    LinkLost,
    Misuse,
    TrustBoxError,
    Unreachable,
)
from harness.secret import Secret
from provisioning.est import BasicLogin, EstClient
from provisioning.est_answers import Issued
from provisioning.http_errors import ServiceBusy, ServiceRefused, UntrustedServer
from provisioning.http_tls import TlsConnector
from tests.links.est_asking import REQUEST, enroll, mine, p7
from tests.links.est_fault_marks import REFUSED
from tests.links.est_pki import DAY, Pki, new_key
from tests.links.est_script import ScriptedServer, answer

pytestmark = pytest.mark.slow


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(30)


PASSWORD = b"planted-est-password-5521"


def test_redirect_is_not_followed(pki: Pki, by: Deadline, tmp_path: Path) -> None:
    with ScriptedServer(pki, answer(p7(mine(pki)))) as elsewhere:
        moved = answer(b"", status="302 Found", Location=f"{elsewhere.url}/x")
        with pytest.raises(ServiceRefused, match="not followed"):
            enroll(pki, moved, by=by)

    assert elsewhere.requests == []


@pytest.mark.parametrize(
    ("status", "raised"),
    [
        ("400 Bad Request", ServiceRefused),
        ("401 Unauthorized", ServiceRefused),
        ("404 Not Found", ServiceRefused),
        ("429 Too Many Requests", ServiceBusy),
        ("500 Internal Server Error", ServiceBusy),
        ("503 Service Unavailable", ServiceBusy),
        ("204 No Content", BadFrame),
    ],
)
def test_each_http_status_has_its_error(
    pki: Pki, by: Deadline, status: str, raised: type[TrustBoxError]
) -> None:
    with pytest.raises(raised):
        enroll(pki, answer(b"" if status[0] == "2" else b"no \x1b[31mthanks", status=status), by=by)


@pytest.mark.parametrize(
    ("headers", "status", "hint"),
    [({"Retry_After": "3600"}, 9, "after that time"), ({}, 4, "again later")],
    ids=["says when", "does not"],
)
def test_busy_server_that_says_when_to_come_back_puts_it_off(
    pki: Pki, by: Deadline, headers: dict[str, str], status: int, hint: str
) -> None:
    busy = answer(b"", status="503 Service Unavailable", **headers)
    with pytest.raises(ServiceBusy) as off:
        enroll(pki, busy, by=by)

    assert (off.value.exit_status, hint in off.value.hint) == (status, True)


def test_servers_words_reach_the_operator_but_not_the_terminal(pki: Pki, by: Deadline) -> None:
    with pytest.raises(ServiceRefused) as refusal:
        enroll(pki, answer(b"policy \x1b[31m\nviolated" * 50, status="400 No"), by=by)

    assert "policy [31m violated" in refusal.value.message
    assert len(refusal.value.message) < 300


@REFUSED
def test_login_is_offered_once_however_often_the_server_asks(pki: Pki, by: Deadline) -> None:
    challenge = answer(b"", status="401 Unauthorized", WWW_Authenticate='Basic realm="x"')
    with ScriptedServer(pki, challenge) as server:
        login = BasicLogin("user", lambda: Secret(PASSWORD))
        client = EstClient(server.url, TlsConnector(pki.text), login=login)
        with pytest.raises(ServiceRefused, match="did not take the login"):
            client.enroll(REQUEST, by=by)

    assert len(server.requests) == 1


def test_password_is_in_no_log_and_no_error(
    pki: Pki, by: Deadline, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    encoded = base64.b64encode(b"user:" + PASSWORD)
    with ScriptedServer(pki, answer(b"no", status="401 Unauthorized")) as server:
        login = BasicLogin("user", lambda: Secret(PASSWORD))
        client = EstClient(server.url, TlsConnector(pki.text), login=login)
        with pytest.raises(ServiceRefused) as refusal:
            client.enroll(REQUEST, by=by)

    assert encoded in server.requests[0]
    told = caplog.text + str(refusal.value) + refusal.value.hint
    assert PASSWORD.decode() not in told
    assert encoded.decode() not in told


def test_body_without_end_is_cut_off(pki: Pki, by: Deadline) -> None:
    def flood(secured: ssl.SSLSocket, request: bytes) -> None:
        secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        for _ in range(1600):
            secured.sendall(b"A" * 65536)

    with pytest.raises(BadFrame, match="more than"):
        enroll(pki, flood, by=by)


@pytest.mark.parametrize("part", [b"HTTP/1.1 200 OK\r\nX-Y: ", answer(b"x" * 999)[:-900]])
def test_server_that_drips_ends_with_the_deadline(pki: Pki, part: bytes) -> None:
    stop = threading.Event()

    def drip(secured: ssl.SSLSocket, request: bytes) -> None:
        secured.sendall(part)
        while not stop.wait(0.1):
            secured.sendall(b"a")

    try:
        with pytest.raises(DeadlineExpired):
            enroll(pki, drip, by=Deadline.after(1.0))
    finally:
        stop.set()


def test_server_that_says_nothing_ends_with_the_deadline(pki: Pki) -> None:
    def be_silent(secured: ssl.SSLSocket, request: bytes) -> None:
        secured.recv(1)  # until the client has had enough

    with pytest.raises(DeadlineExpired, match="to answer"):
        enroll(pki, be_silent, by=Deadline.after(0.5))


def test_connection_cut_in_mid_answer_is_a_lost_link(pki: Pki, by: Deadline) -> None:
    def cut(secured: ssl.SSLSocket, request: bytes) -> None:
        secured.sendall(answer(p7(mine(pki)))[:-100])
        secured.unwrap()

    with pytest.raises(LinkLost):
        enroll(pki, cut, by=by)


@pytest.mark.fault(
    "EST",
    "the server closes without close_notify",
    comes="LinkLost, status 4, unless the answer's length was given",
    then="have the server end TLS properly, then run again",
)
def test_answer_without_length_needs_a_goodbye_to_count(pki: Pki, by: Deadline) -> None:
    """Without close_notify, somebody in between may have cut it."""
    whole = b"HTTP/1.0 200 OK\r\nContent-Type: application/pkcs7-mime\r\n\r\n" + p7(mine(pki))

    def without(secured: ssl.SSLSocket, request: bytes) -> None:
        secured.sendall(whole)

    assert isinstance(enroll(pki, whole, by=by), Issued)
    with pytest.raises(LinkLost, match="goodbye"):
        enroll(pki, without, by=by)


@pytest.mark.parametrize(
    "noise", [b"\x00\xff" * 40, b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"HTTP/9 x\r\n\r\n"]
)
def test_server_that_does_not_speak_http_is_a_bad_frame(
    pki: Pki, by: Deadline, noise: bytes
) -> None:
    with pytest.raises(BadFrame, match="does not speak HTTP"):
        enroll(pki, noise, by=by)


def test_packed_answer_that_nobody_asked_for_is_a_bad_frame(pki: Pki, by: Deadline) -> None:
    with pytest.raises(BadFrame, match="packed"):
        enroll(pki, answer(b"\x1f\x8b" + bytes(50), Content_Encoding="gzip"), by=by)


def test_server_of_another_name_is_not_trusted(pki: Pki, by: Deadline) -> None:
    server = pki.here / "server.pem"
    key = new_key()
    server.write_bytes(pki.bare(key.public_key(), "elsewhere").public_bytes(Encoding.PEM))
    pki.rekey(key)

    with pytest.raises(UntrustedServer):
        enroll(pki, answer(b""), by=by)


@pytest.mark.case("N-47")
def test_server_certificate_that_has_ended_is_not_trusted(pki: Pki, by: Deadline) -> None:
    key = new_key()
    past = datetime.datetime.now(datetime.UTC) - DAY
    ended = pki.issue(key.public_key(), "localhost", until=past)
    (pki.here / "server.pem").write_bytes(ended.public_bytes(Encoding.PEM))
    pki.rekey(key)

    with pytest.raises(UntrustedServer, match="expired"):
        enroll(pki, answer(b""), by=by)


def test_nobody_there_is_unreachable(pki: Pki, by: Deadline) -> None:
    with ScriptedServer(pki, answer(b"")) as server:
        pass

    with pytest.raises(Unreachable):
        EstClient(server.url, TlsConnector(pki.text)).cacerts(by=by)


def test_request_goes_out_in_lines_that_strict_servers_take(pki: Pki, by: Deadline) -> None:
    """libest answers 400 to base64 on one line without an end of line (measured)."""
    with ScriptedServer(pki, answer(p7(mine(pki)))) as server:
        EstClient(server.url, TlsConnector(pki.text), label="line-1").enroll(REQUEST, by=by)

    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /.well-known/est/line-1/simpleenroll HTTP/1.1")
    assert b"content-type: application/pkcs10" in head.lower()
    assert body.endswith(b"\n")
    assert max(map(len, body.split(b"\n"))) == 64


@pytest.mark.parametrize(
    "url", ["http://h", "https://", "https://u:p@h", "https://h?x=1", "nonsense", "https://h#a"]
)
def test_url_that_is_not_a_plain_https_one_is_misuse(url: str) -> None:
    with pytest.raises(Misuse):
        EstClient(url, TlsConnector())


@pytest.mark.parametrize("octets", [b"", REQUEST[:-1], REQUEST[:-1] + b"\x00", bytes(64)])
def test_request_that_is_none_is_never_sent(pki: Pki, by: Deadline, octets: bytes) -> None:
    with ScriptedServer(pki, answer(b"")) as server:
        with pytest.raises(Misuse):
            EstClient(server.url, TlsConnector(pki.text)).enroll(octets, by=by)
        assert server.requests == []
