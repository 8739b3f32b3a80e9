"""What bad EST servers and bad files do to a run: the error, and what is left on box and station.

Every row is followed by a run with a good server, which must complete with the same request.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from email.utils import format_datetime
from pathlib import Path

import pytest
from cryptography import x509

from harness.errors import BadFrame, DeadlineExpired, IntegrityFailure, LinkLost, TrustBoxError
from provisioning.certificates import pem
from provisioning.http_errors import PutOff, ServiceBusy, ServiceRefused, UntrustedServer
from provisioning.run import Outcome
from provisioning.station import Station
from tests.fault_rows import marked
from tests.links.est_asking import p7
from tests.links.est_fault_marks import ANSWERS, CACERTS, PARKED, SHORT_WAIT, UNTRUSTED, WRONG_ROOT
from tests.links.est_issuing import Issuing, outcome, plan_for, posted
from tests.links.est_pki import Pki, new_key
from tests.links.est_script import Line, ScriptedServer, answer
from tests.links.host_box import DEVICE, HostBox, host_box, last_words, recorded
from tests.links.sshd import LocalSshd

pytestmark = pytest.mark.slow

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def prepared(
    sshd: LocalSshd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[HostBox, Pki]]:
    pki = Pki.make(tmp_path_factory.mktemp("pki"))
    with host_box(sshd, tmp_path_factory.mktemp("box")) as made:
        yield made, pki


@pytest.fixture
def box(prepared: tuple[HostBox, Pki]) -> HostBox:
    prepared[0].clean()
    return prepared[0]


@pytest.fixture
def pki(prepared: tuple[HostBox, Pki]) -> Pki:
    return prepared[1]


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


@dataclass(frozen=True)
class Row:
    """One fault. ``received``: certificates that were noted before they were judged; ``serves``:
    one of them is good after all, and the next run asks for none.
    """

    spoil: Callable[[Pki, x509.Certificate], Line]
    raises: type[TrustBoxError]
    said: str
    received: int = 0
    serves: bool = False
    phase: str = "failed"
    parked: bool = False
    seconds: float = 20.0


def body(text: bytes, **more: str) -> Callable[[Pki, x509.Certificate], Line]:
    return lambda pki, leaf: answer(text, **more)


def status(line: str, **headers: str) -> Callable[[Pki, x509.Certificate], Line]:
    return lambda pki, leaf: answer(b"no\n", status=line, kind="text/plain", **headers)


def later(value: str) -> Callable[[Pki, x509.Certificate], Line]:
    return lambda pki, leaf: answer(b"", status="202 Accepted", kind="", Retry_After=value)


def in_an_hour(pki: Pki, leaf: x509.Certificate) -> Line:
    """As a date; made when it is answered, however long after the import that is."""
    then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    return later(format_datetime(then, usegmt=True))(pki, leaf)


def drip(pki: Pki, leaf: x509.Certificate) -> Line:
    def slowly(secured: object, request: bytes) -> None:
        secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1")  # type: ignore[attr-defined]
        secured.recv(1)  # type: ignore[attr-defined]  # until the client goes

    return slowly


def hang_up(secured: object, request: bytes) -> None:
    secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\nMII")  # type: ignore[attr-defined]
    secured.close()  # type: ignore[attr-defined]


def for_another_key(pki: Pki, leaf: x509.Certificate) -> Line:
    return answer(p7(pki.issue(new_key().public_key(), DEVICE)))


def of_a_ca(pki: Pki, leaf: x509.Certificate) -> Line:
    return answer(p7(pki.issue(leaf.public_key(), DEVICE, ca=True)))


def twice(pki: Pki, leaf: x509.Certificate) -> Line:
    return answer(p7(leaf, pki.issue(leaf.public_key(), DEVICE)))


def ended(pki: Pki, leaf: x509.Certificate) -> Line:
    return answer(p7(pki.issue(leaf.public_key(), DEVICE, until=NOW - DAY)))


def another_name(pki: Pki, leaf: x509.Certificate) -> Line:
    return answer(p7(pki.issue(leaf.public_key(), "tb-other-0001")))


def another_root(pki: Pki, leaf: x509.Certificate) -> Line:
    (pki.here / "other").mkdir(exist_ok=True)
    other = Pki.make(pki.here / "other", "another root")
    return answer(p7(other.issue(leaf.public_key(), DEVICE)))


HTML = b"<html><body>Welcome</body></html>"
EMPTY = b"MAsGCSqGSIb3DQEHAg=="
LIBEST_EMPTY = b"MCUGCSqGSIb3DQEHAqAYMBYCAQExADALBgkqhkiG9w0BBwGgADEA"

ROWS = {
    "empty PKCS#7": Row(body(EMPTY), BadFrame, "no certificate"),
    "libest's empty PKCS#7": Row(body(LIBEST_EMPTY), BadFrame, "no certificate"),
    "nothing": Row(body(b""), BadFrame, "empty"),
    "HTML": Row(body(HTML), BadFrame, "HTML"),
    "HTML, said to be so": Row(body(HTML, kind="text/html"), BadFrame, "said to be text/html"),
    "PEM, cut": Row(lambda pki, leaf: answer(pem(leaf)[:200]), BadFrame, "PEM"),
    "not base64": Row(body(b"MII?"), BadFrame, "not base64"),
    "too much": Row(body(b"M" * (2 << 20)), BadFrame, "more than 1048576 octets"),
    "two for one key": Row(twice, BadFrame, "2 certificates for one key", received=2, serves=True),
    "for another key": Row(for_another_key, IntegrityFailure, "another key", received=1),
    "a CA's": Row(of_a_ca, IntegrityFailure, "a CA's certificate", received=1),
    "ended": Row(ended, IntegrityFailure, "that ended on", received=1),
    "another name": Row(another_name, IntegrityFailure, "common name", received=1),
    "another root": Row(another_root, IntegrityFailure, "path does not verify", received=1),
    "202, an hour": Row(later("3600"), PutOff, "asked again at", phase="parked", parked=True),
    "202, 10^9": Row(later("1000000000"), PutOff, "asked again at", phase="parked", parked=True),
    "202, a date": Row(in_an_hour, PutOff, "asked again at", phase="parked", parked=True),
    "401": Row(status("401 No", WWW_Authenticate="Basic realm=x"), ServiceRefused, "401"),
    "401, proof of possession": Row(status("401 Proof of Possession"), ServiceRefused, "401"),
    "400": Row(status("400 Bad Request"), ServiceRefused, "400"),
    "a redirect": Row(
        status("302 Found", Location="https://localhost:1/"), ServiceRefused, "not followed"
    ),
    "500": Row(status("500 Broken"), TrustBoxError, "busy or broken"),
    "cut": Row(lambda pki, leaf: hang_up, LinkLost, "ended the connection"),
    "drips": Row(drip, DeadlineExpired, "gave up", seconds=1.0),
}


@pytest.mark.parametrize("row", marked(ROWS, ANSWERS))
def test_fault_leaves_the_request_and_nothing_on_the_box(
    box: HostBox, pki: Pki, station: Station, row: Row
) -> None:
    directory = station.records("TB-HOST-0001")
    with ScriptedServer(pki, Issuing(pki, row.spoil)) as server:
        with pytest.raises(row.raises, match=row.said):
            box.run(plan_for(box, server, pki), station, certificate=row.seconds)
        asked = posted(server)

    assert not box.chain.exists()
    assert last_words(station) == ("certificate", row.phase)
    assert len(list((directory / "issued").glob("*"))) == row.received
    kept = {p.name for p in directory.iterdir()} & {"device.pem", "record.json"}
    assert kept == set()
    assert (directory / "est-parked.json").exists() is row.parked
    (directory / "est-parked.json").unlink(missing_ok=True)  # its time has come
    with ScriptedServer(pki, Issuing(pki, None)) as server:
        done = box.run(plan_for(box, server, pki), station)
        assert posted(server) == ([] if row.serves else asked[:1])
    assert outcome(done, "install") is Outcome.DONE
    assert box.chain.read_bytes().startswith((directory / "device.pem").read_bytes())
    superseded = recorded(station, "certificate", "superseded")
    assert isinstance(superseded, list)
    assert len(superseded) == row.received - row.serves


AT_CACERTS: dict[str, tuple[Line, type[TrustBoxError]]] = {
    "cacerts 500": (answer(b"no", status="500 Broken"), ServiceBusy),
    "cacerts cut": (hang_up, LinkLost),
    "cacerts HTML": (answer(HTML, kind="text/html"), BadFrame),
}


@pytest.mark.parametrize("row", marked(AT_CACERTS, CACERTS))
def test_fault_at_cacerts_costs_no_certificate(
    box: HostBox, pki: Pki, station: Station, row: tuple[Line, type[TrustBoxError]]
) -> None:
    """No request is posted before they are there: what was issued then would be lost."""
    cacerts, raises = row
    with ScriptedServer(pki, Issuing(pki, None, cacerts=cacerts)) as server:
        with pytest.raises(raises):
            box.run(plan_for(box, server, pki), station)
        asked = posted(server)
    with ScriptedServer(pki, Issuing(pki, None)) as server:
        done = box.run(plan_for(box, server, pki), station)
        asked += posted(server)

    assert outcome(done, "certificate") is Outcome.DONE
    assert len(asked) == 1
    assert recorded(station, "certificate", "superseded") == []


@WRONG_ROOT
def test_received_certificate_that_was_misjudged_is_not_asked_for_again(
    box: HostBox, pki: Pki, station: Station, tmp_path: Path
) -> None:
    """The plan named the wrong root; with the right one, what was received then is good."""
    Pki.make(tmp_path, "not its root")
    with ScriptedServer(pki, Issuing(pki, None)) as server:
        plan = plan_for(box, server, pki)
        assert plan.est is not None
        wrong = replace(plan, est=replace(plan.est, ca=tmp_path / "ca.pem"))
        with pytest.raises(IntegrityFailure, match="path does not verify"):
            box.run(wrong, station)
        done = box.run(plan, station)
        asked = len(posted(server))

    assert (asked, outcome(done, "certificate")) == (1, Outcome.ALREADY)
    assert recorded(station, "certificate", "superseded") == []
    assert box.chain.exists()


@SHORT_WAIT
@pytest.mark.parametrize("value", ["", "-5", "soon", "0"], ids=lambda v: f"Retry-After {v!r}")
def test_short_or_senseless_wait_is_waited_for_in_the_run(
    box: HostBox, pki: Pki, station: Station, value: str
) -> None:
    asked_before: list[bytes] = []

    def first_later(pki: Pki, leaf: x509.Certificate) -> Line:
        asked_before.append(b"")
        line = answer(
            b"", status="202 Accepted", kind="", **({"Retry_After": value} if value else {})
        )
        return line if len(asked_before) == 1 else answer(p7(leaf))

    with ScriptedServer(pki, Issuing(pki, first_later)) as server:
        done = box.run(plan_for(box, server, pki), station)

    assert outcome(done, "certificate") is Outcome.DONE
    assert len(posted(server)) == 2
    assert len(set(posted(server))) == 1


@PARKED
def test_parked_run_asks_nobody_before_its_time(box: HostBox, pki: Pki, station: Station) -> None:
    with ScriptedServer(pki, Issuing(pki, later("3600"))) as server:
        plan = plan_for(box, server, pki)
        for _ in range(2):
            with pytest.raises(PutOff) as off:
                box.run(plan, station)

    assert off.value.exit_status == 9
    assert len(posted(server)) == 1


@UNTRUSTED
@pytest.mark.parametrize("wrong", ["another root", "another name", "ended"])
def test_server_that_is_not_to_be_trusted_is_told_nothing(
    box: HostBox, pki: Pki, station: Station, tmp_path: Path, wrong: str
) -> None:
    (tmp_path / "bad").mkdir()
    bad = Pki.make(tmp_path / "bad", "old root")
    key = new_key()
    bad.rekey(key)
    issuer = bad if wrong == "another root" else pki
    until = NOW - DAY if wrong == "ended" else None
    host = "elsewhere" if wrong == "another name" else "localhost"
    leaf = issuer.issue(key.public_key(), host, host=host, until=until)
    (bad.here / "server.pem").write_bytes(pem(leaf))
    with (
        ScriptedServer(bad, Issuing(pki, None)) as server,
        pytest.raises(UntrustedServer) as no,
    ):
        box.run(plan_for(box, server, pki), station)

    assert (server.requests, no.value.exit_status) == ([], 5)
    assert not box.chain.exists()
