"""EST servers as they are: odd wrappings, a certificate asked for late, other names."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from harness.deadline import Deadline
from harness.errors import BadFrame
from provisioning.est import EstClient
from provisioning.est_answers import Issued
from provisioning.http_errors import ServiceRefused, UntrustedServer
from provisioning.http_tls import TlsConnector
from tests.links.est_asking import REQUEST, mine, p7
from tests.links.est_late import asking_late
from tests.links.est_pki import Pki, new_key, pem_of, write_key
from tests.links.est_script import ScriptedServer, answer

Wrap = Callable[[x509.Certificate], bytes]
WRAPPINGS: dict[str, Wrap] = {
    "bare certificate": lambda c: answer(base64.encodebytes(c.public_bytes(Encoding.DER))),
    "PEM certificate": lambda c: answer(c.public_bytes(Encoding.PEM)),
    "PEM armour": lambda c: answer(b"-----BEGIN PKCS7-----\n" + p7(c) + b"-----END PKCS7-----\n"),
    "pkix-cert": lambda c: answer(c.public_bytes(Encoding.DER), kind="application/pkix-cert"),
    "DER": lambda c: answer(base64.b64decode(p7(c))),
    "octet-stream": lambda c: answer(p7(c), kind="application/octet-stream"),
    "HTML, it says": lambda c: answer(p7(c), kind="text/html"),
    "no type": lambda c: answer(p7(c), kind=""),
    "201": lambda c: answer(p7(c), status="201 Created"),
    "mark": lambda c: answer(b"\xef\xbb\xbf" + p7(c)),
    "type twice": lambda c: answer(p7(c), content_type="application/pkcs7-mime"),
}


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(30)


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
def test_what_was_issued_is_kept_and_taken_whatever_its_wrapping(
    pki: Pki, by: Deadline, wrap: Wrap
) -> None:
    leaf, kept = mine(pki), list[tuple[x509.Certificate, ...]]()
    with (
        ScriptedServer(pki, wrap(leaf)) as server,
        EstClient(server.url, TlsConnector(pki.text), received=kept.append) as client,
    ):
        made = client.enroll(REQUEST, by=by)

        assert isinstance(made, Issued)
        assert made.certificate == leaf
        assert kept == [(leaf,)]
        assert len(server.requests) == 1


@pytest.mark.fault(
    "EST",
    "the server says yes (200, 201, 204) and sends no certificate in any form",
    comes="BadFrame (4) that says what it is instead; nothing is kept",
    then="ask who runs the server whether it issued one",
)
@pytest.mark.parametrize("status", ["200 OK", "201 Created", "204 No Content"])
@pytest.mark.parametrize("body", [b"", b"<html>Welcome", b"\x30\x82\x01\x00", b"MAAA"])
def test_a_yes_without_a_certificate_is_a_bad_frame(
    pki: Pki, by: Deadline, status: str, body: bytes
) -> None:
    kept = list[tuple[x509.Certificate, ...]]()
    body = b"" if status.startswith("204") else body
    with (
        ScriptedServer(pki, answer(body, status=status)) as server,
        EstClient(server.url, TlsConnector(pki.text), received=kept.append) as client,
        pytest.raises(BadFrame),
    ):
        client.enroll(REQUEST, by=by)
    assert not kept


def test_a_certificate_that_is_asked_for_after_the_handshake_is_shown(
    pki: Pki, by: Deadline
) -> None:
    with (
        ScriptedServer(pki, asking_late, asks_later=True) as server,
        EstClient(server.url, TlsConnector(pki.text, pki.identity("ra-7"))) as client,
        pytest.raises(ServiceRefused, match=r"418.*ra-7"),
    ):
        client.enroll(REQUEST, by=by)


@pytest.mark.fault(
    "EST",
    "the server answers 403: it wants a client certificate that it never got, or never asked for",
    comes="ServiceRefused (6) with the server's words; nothing was issued",
    then="give --chain and --key, and let the server ask for the certificate in TLS",
)
def test_a_403_says_that_a_certificate_may_not_have_been_asked_for(pki: Pki, by: Deadline) -> None:
    with (
        ScriptedServer(pki, asking_late, asks_later=True) as server,
        EstClient(server.url, TlsConnector(pki.text)) as client,
        pytest.raises(ServiceRefused, match="403") as caught,
    ):
        client.enroll(REQUEST, by=by)
    assert "did the server ask for it in TLS" in caught.value.hint


@pytest.mark.fault(
    "EST",
    "the server's certificate is good and bears another name than the address that was given",
    comes="UntrustedServer (5) that names the certificate's names; nothing was sent",
    then="use one of these names, or have a new certificate made for the server",
)
def test_a_certificate_of_another_name_is_told_with_its_names(pki: Pki, by: Deadline) -> None:
    key = new_key()
    write_key(pki.here / "server.key", key)
    other = pki.issue(key.public_key(), "est", host="est.line.example")
    (pki.here / "server.pem").write_text(pem_of(other))
    with (
        ScriptedServer(pki, answer(b"")) as server,
        EstClient(server.url, TlsConnector(pki.text)) as client,
        pytest.raises(UntrustedServer, match=r"mismatch.*it is for est\.line\.example") as caught,
    ):
        client.cacerts(by=by)
    assert not server.requests
    assert caught.value.exit_status == 5
