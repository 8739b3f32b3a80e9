"""What EST servers have been seen to answer, and what none should: each input and its error."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable

import pytest

from harness.deadline import Deadline
from harness.errors import (
    BadFrame,
    IntegrityFailure,
    MissingCapability,
    Misuse,
)
from provisioning.est import EstClient
from provisioning.est_answers import Issued, Parked
from provisioning.est_wire import CHALLENGE_PASSWORD, bound_request
from provisioning.http_tls import TlsConnector
from tests.links.est_asking import KEY, REQUEST, enroll, mine, p7
from tests.links.est_pki import DAY, Pki, name, new_key
from tests.links.est_script import ScriptedServer, answer

pytestmark = pytest.mark.slow


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(30)


GOOD_BODIES: dict[str, Callable[[bytes], bytes]] = {
    "lines of 76": lambda p: p,
    "one line": lambda p: p.replace(b"\n", b""),
    "CRLF": lambda p: p.replace(b"\n", b"\r\n"),
    "blank lines": lambda p: b"\n\n" + p + b"\n \n",
}


@pytest.mark.fault(
    "EST",
    "Content-Transfer-Encoding absent or wrong; base64 on one line, with CRLF, in 76 columns",
    comes="works",
    then="nothing",
)
@pytest.mark.parametrize("form", GOOD_BODIES.values(), ids=GOOD_BODIES)
@pytest.mark.parametrize("cte", ["base64", "binary", "7bit", ""])
def test_base64_of_any_layout_is_read_whatever_the_encoding_header_says(
    pki: Pki, by: Deadline, form: Callable[[bytes], bytes], cte: str
) -> None:
    headers = {"Content_Transfer_Encoding": cte} if cte else {}

    made = enroll(pki, answer(form(p7(mine(pki))), **headers), by=by)

    assert isinstance(made, Issued)


@pytest.mark.fault(
    "EST",
    "HTTP/1.0 with a Status header",
    comes="works",
    then="nothing",
)
def test_answer_as_libest_sends_it_is_read(pki: Pki, by: Deadline) -> None:
    """HTTP/1.0, and a Status header."""
    made = enroll(pki, answer(p7(mine(pki)), version="1.0", Status="200 OK"), by=by)

    assert isinstance(made, Issued)


BAD_BODIES = {
    "empty": (b"", "empty"),
    "p7 of nothing": (b"MAsGCSqGSIb3DQEHAg==", "no certificates"),
    "libest's empty p7": (
        b"MCUGCSqGSIb3DQEHAqAYMBYCAQExADALBgkqhkiG9w0BBwGgADEA",
        "no certificate at all",
    ),
    "HTML": (b"<html><body>Welcome to the hotel", "HTML"),
    "PEM": (b"-----BEGIN PKCS7-----\nMAsGCSqGSIb3DQEHAg==\n-----END PKCS7-----\n", "PEM"),
    "bare DER": (b"0\x82\x01\x00" + bytes(256), "bare DER"),
    "rubbish behind": (b"MAsGCSqGSIb3DQEHAg==%%%", "not base64"),
    "other base64": (base64.b64encode(bytes(100)), "no certificates"),
}


@pytest.mark.parametrize(("body", "said"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_body_that_holds_no_certificate_is_a_bad_frame_that_says_what_it_is(
    pki: Pki, by: Deadline, body: bytes, said: str
) -> None:
    with pytest.raises(BadFrame, match=said):
        enroll(pki, answer(body), by=by)


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_answer_cut_short_inside_is_a_bad_frame(pki: Pki, by: Deadline, cut: int) -> None:
    octets = base64.b64decode(p7(mine(pki)))

    with pytest.raises(BadFrame):
        enroll(pki, answer(base64.b64encode(octets[:-cut])), by=by)


@pytest.mark.parametrize("kind", ["text/html", "application/json", ""])
def test_answer_of_another_type_is_a_bad_frame(pki: Pki, by: Deadline, kind: str) -> None:
    with pytest.raises(BadFrame, match="said to be"):
        enroll(pki, answer(b"MAsGCSqGSIb3DQEHAg==", kind=kind), by=by)
    with (
        ScriptedServer(pki, answer(p7(pki.root), kind=kind)) as server,
        EstClient(server.url, TlsConnector(pki.text)) as client,
        pytest.raises(BadFrame, match="said to be"),
    ):
        client.cacerts(by=by)


@pytest.mark.case("N-47")
def test_certificate_for_another_key_is_an_integrity_failure(pki: Pki, by: Deadline) -> None:
    other = pki.issue(new_key().public_key(), "tb-trap-0001")

    with pytest.raises(IntegrityFailure, match="another key"):
        enroll(pki, answer(p7(other)), by=by)


def test_ca_certificate_for_a_device_is_an_integrity_failure(pki: Pki, by: Deadline) -> None:
    with pytest.raises(IntegrityFailure, match="CA's"):
        enroll(pki, answer(p7(pki.issue(KEY.public_key(), "x", ca=True))), by=by)


def test_certificate_that_has_ended_is_an_integrity_failure(pki: Pki, by: Deadline) -> None:
    ended = pki.issue(KEY.public_key(), "x", until=datetime.datetime.now(datetime.UTC) - DAY)

    with pytest.raises(IntegrityFailure, match="ended on"):
        enroll(pki, answer(p7(ended)), by=by)


def test_issuer_sent_along_is_kept_apart_and_not_taken_for_ours(pki: Pki, by: Deadline) -> None:
    made = enroll(pki, answer(p7(pki.root, mine(pki))), by=by)

    assert isinstance(made, Issued)
    assert made.certificate.public_key() == KEY.public_key()
    assert made.others == (pki.root,)


def test_two_certificates_for_the_key_are_refused(pki: Pki, by: Deadline) -> None:
    with pytest.raises(BadFrame, match="2 certificates"):
        enroll(pki, answer(p7(mine(pki), mine(pki))), by=by)


def test_reenrollment_answered_with_another_name_is_an_integrity_failure(
    pki: Pki, by: Deadline
) -> None:
    line = answer(p7(pki.issue(KEY.public_key(), "tb-other")))
    with ScriptedServer(pki, line) as server:
        client = EstClient(server.url, TlsConnector(pki.text))
        with pytest.raises(IntegrityFailure, match="another name"):
            client.reenroll(REQUEST, pki.bare(KEY.public_key(), "tb-trap-0001"), by=by)


@pytest.mark.fault(
    "EST",
    "re-enrollment with a certificate that has ended",
    comes="Misuse, status 2; nobody was asked",
    then="enroll instead of renewing",
)
def test_present_certificate_that_has_ended_is_misuse(pki: Pki, by: Deadline) -> None:
    past = datetime.datetime.now(datetime.UTC) - DAY
    present = pki.bare(KEY.public_key(), "tb-trap-0001", until=past)

    with ScriptedServer(pki, answer(b"")) as server:
        with pytest.raises(Misuse, match="has ended"):
            EstClient(server.url, TlsConnector(pki.text)).reenroll(REQUEST, present, by=by)
        assert server.requests == []


def test_short_retry_after_is_waited_for_and_the_same_octets_are_sent(
    pki: Pki, by: Deadline
) -> None:
    later = answer(b"", status="202 Accepted", Retry_After="1")
    with ScriptedServer(pki, later, later, answer(p7(mine(pki)))) as server:
        made = EstClient(server.url, TlsConnector(pki.text)).enroll(REQUEST, by=by)

    bodies = {request.partition(b"\r\n\r\n")[2] for request in server.requests}
    assert isinstance(made, Issued)
    assert (len(server.requests), len(bodies)) == (3, 1)


@pytest.mark.parametrize(
    ("asked", "hours"), [("3600", 1), ("1000000000", 720), ("Fri, 31 Dec 9999 23:59:59 GMT", 720)]
)
def test_long_retry_after_parks_at_once(pki: Pki, by: Deadline, asked: str, hours: int) -> None:
    parked = enroll(pki, answer(b"", status="202 Accepted", Retry_After=asked), by=by)

    assert isinstance(parked, Parked)
    ahead = parked.until - datetime.datetime.now(datetime.UTC)
    assert abs(ahead.total_seconds() - hours * 3600) < 30
    assert parked.request == REQUEST


@pytest.mark.parametrize("asked", [None, "-5", "soon"])
def test_202_without_a_sensible_retry_after_is_asked_again_soon(
    pki: Pki, by: Deadline, asked: str | None
) -> None:
    headers = {} if asked is None else {"Retry_After": asked}
    later = answer(b"", status="202 Accepted", **headers)

    assert isinstance(enroll(pki, later, answer(p7(mine(pki))), by=by), Issued)


def test_202_for_ever_parks_when_the_deadline_comes_first(pki: Pki) -> None:
    """Once it is waited for; a second time the deadline, 2 s away by then, comes first."""
    later = answer(b"", status="202 Accepted", Retry_After="3")

    assert isinstance(enroll(pki, later, by=Deadline.after(5)), Parked)


def test_server_that_wants_a_binding_says_so_in_its_wishes(pki: Pki, by: Deadline) -> None:
    wishes = b"MAsGCSqGSIb3DQEJBw=="  # SEQUENCE { OID challengePassword }
    with ScriptedServer(pki, answer(wishes, kind="application/csrattrs")) as server:
        client = EstClient(server.url, TlsConnector(pki.text))
        assert client.wanted(by=by) == (CHALLENGE_PASSWORD,)
        assert client.needs_binding(by=by)


@pytest.mark.parametrize("status", ["204 No Content", "404 Not Found", "200 OK"])
def test_server_without_wishes_is_fine(pki: Pki, by: Deadline, status: str) -> None:
    with ScriptedServer(pki, answer(b"", status=status)) as server:
        assert EstClient(server.url, TlsConnector(pki.text)).wanted(by=by) == ()


@pytest.mark.parametrize("wishes", [b"AAAA", b"MAMCAQE=", b"MIMC"])
def test_wishes_that_cannot_be_read_are_a_bad_frame(pki: Pki, by: Deadline, wishes: bytes) -> None:
    with ScriptedServer(pki, answer(wishes)) as server, pytest.raises(BadFrame):
        EstClient(server.url, TlsConnector(pki.text)).wanted(by=by)


@pytest.mark.fault(
    "EST",
    "a binding to the connection is asked for under TLS 1.3",
    comes="MissingCapability, status 3; nothing was posted",
    then="leave proof away from the plan, or let the server speak TLS 1.2",
)
def test_tls_1_3_has_no_binding_and_says_so(pki: Pki, by: Deadline) -> None:
    with ScriptedServer(pki, answer(b"")) as server:
        client = EstClient(server.url, TlsConnector(pki.text))
        with pytest.raises(MissingCapability, match="tls-unique"):
            client.enroll_bound(lambda b: bound_request(KEY, name("x"), b), by=by)
        assert server.requests == []


def test_bound_request_is_signed_anew_for_each_connection(pki: Pki, by: Deadline) -> None:
    seen: list[bytes] = []

    def sign(binding: bytes) -> bytes:
        seen.append(binding)
        return bound_request(KEY, name("tb-trap-0001"), binding)

    later = answer(b"", status="202 Accepted", Retry_After="0")
    with ScriptedServer(pki, later, answer(p7(mine(pki)))) as server:
        client = EstClient(server.url, TlsConnector(pki.text, bindable=True))
        made = client.enroll_bound(sign, by=by)

    assert isinstance(made, Issued)
    assert len(set(seen)) == 2
