"""The factory's HSM goes away and comes back: real workers are killed and stopped (SIGSTOP)."""

from __future__ import annotations

import base64
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from harness.deadline import Deadline
from harness.errors import TokenRefused
from provisioning.authority import Authority
from provisioning.authority_tokens import ISSUING_ID, opened_token
from provisioning.csr import device_subject
from provisioning.http_client import Answer, Http
from provisioning.http_tls import TlsConnector
from provisioning.local_services import ServiceFiles
from provisioning.station import Station
from provisioning.token import Token
from provisioning.token_process import TokenProcess
from provisioning.token_session import TokenAway, TokenSession
from tests.links.ca_hsm import PINS, Factory
from tests.links.est_pki import new_key

pytestmark = pytest.mark.slow
LABEL = "Line CA"


def process_of(token: Token) -> TokenProcess:
    session = token._caller
    assert isinstance(session, TokenSession)
    return session._process


def to_worker(token: Token, number: signal.Signals) -> None:
    worker = process_of(token)._worker
    assert worker is not None
    os.kill(worker.pid, number)
    if number is signal.SIGKILL:
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)


def request(serial: str) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(device_subject(serial))
    return builder.sign(new_key(), hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture
def hsm(factory: Factory, monkeypatch: pytest.MonkeyPatch) -> Factory:
    monkeypatch.setenv("SOFTHSM2_CONF", factory.environment["SOFTHSM2_CONF"])
    return factory


@contextmanager
def opened(hsm: Factory, by: Deadline) -> Iterator[Token]:
    with opened_token(hsm.uri(LABEL), hsm.state, by=by) as token:
        yield token


@pytest.fixture
def authority(tmp_path: Path, by: Deadline) -> Iterator[Authority]:
    with Station(tmp_path).authority(make=True, by=by) as ca:
        yield ca


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_token_whose_worker_was_lost_is_logged_in_again_by_the_next_call(
    hsm: Factory, by: Deadline, number: signal.Signals
) -> None:
    with opened(hsm, by) as token:
        made, _ = token.ensure(b"k", "k", by=by)
        to_worker(token, number)
        if number is signal.SIGSTOP:
            with pytest.raises(TokenAway, match="gave up after"):
                token.find(b"k", by=Deadline.after(0.5))

        assert token.find(b"k", by=by) == made
        assert token.sign(b"k", bytes(32), by=by)


def test_pin_that_was_changed_meanwhile_is_given_once_and_the_right_one_then(
    hsm: Factory, by: Deadline
) -> None:
    """A loop would lock the token: seven wrong PINs are for good."""
    file, right = hsm.pin_file(LABEL), f"{PINS[LABEL]}\n"
    with opened(hsm, by) as token:
        state, budget = token.logged_in, token.budget
        assert state is not None
        assert budget is not None
        to_worker(token, signal.SIGKILL)
        file.write_text("wrong-pin-0001\n")
        for _ in range(8):
            with pytest.raises(TokenAway, match="CKR_PIN_INCORRECT") as away:
                token.find(b"k", by=by)
        assert budget.failures(state, "user") == 1
        assert "not tried again" in away.value.hint
        file.write_text(right)
        assert token.find(b"k", by=by) is None
        assert budget.failures(state, "user") == 0


def test_token_that_was_pulled_is_away_and_back_when_it_is_plugged_in(
    hsm: Factory, by: Deadline
) -> None:
    tokens = hsm.place / "tokens"
    with opened(hsm, by) as token:
        token.ensure(b"k", "k", by=by)
        shutil.move(tokens, hsm.place / "pulled")
        tokens.mkdir()
        to_worker(token, signal.SIGKILL)
        with pytest.raises(TokenAway, match="shows no token as the URI names it"):
            token.find(b"k", by=by)
        tokens.rmdir()
        shutil.move(hsm.place / "pulled", tokens)

        assert token.find(b"k", by=by) is not None


def test_refusal_that_is_about_what_was_asked_stays_one(hsm: Factory, by: Deadline) -> None:
    with opened(hsm, by) as token:
        worker = process_of(token).worker
        with pytest.raises(TokenRefused, match="CKR_NO_SUCH_KEY"):
            token.sign(b"none", bytes(32), by=by)
        assert process_of(token).worker is worker


class Stopped(TokenProcess):
    """Its worker is stopped or killed when it is about to sign, once."""

    armed: signal.Signals | None = None

    def call(self, do: str, /, *, doing: str, by: Deadline, **arguments: object) -> object:
        if do == "sign" and self.armed is not None:
            number, self.armed = self.armed, None
            assert self._worker is not None
            os.kill(self._worker.pid, number)
            by = by.sooner(1.0)
        return super().call(do, doing=doing, by=by, **arguments)


@pytest.mark.fault(
    "CA",
    "the HSM does not answer any more while the CA signs",
    comes="TokenAway, status 8; the certificate's row stays in the index as unfinished",
    then="run it again: a new number is signed; trustbox ca show lists the unfinished one",
    case="F-08",
)
@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_signing_that_was_cut_is_not_repeated_and_the_next_one_has_a_new_number(
    authority: Authority, by: Deadline, number: signal.Signals
) -> None:
    session = authority.token._caller
    assert isinstance(session, TokenSession)
    before = session._process
    session._process = spoilt = Stopped(before._module, environment=before._environment)
    spoilt.armed = number
    before.close()
    mine = request("TB-HSM-1")

    with pytest.raises(TokenAway, match="signing in the token"):
        authority.issue(mine, "TB-HSM-1", days=30, by=by)
    made, new = authority.issue(mine, "TB-HSM-1", days=30, by=by)

    rows = authority.index.of_device("TB-HSM-1")
    assert new
    assert sorted(row.certificate is None for row in rows) == [False, True]
    assert made.serial_number in {row.number for row in rows if row.certificate}


class Asking:
    """The station's EST server and who asks it without our client's patience."""

    def __init__(self, authority: Authority, files: ServiceFiles, port: int) -> None:
        self.authority, self._login = authority, files.est_login
        self.http = Http(f"https://localhost:{port}", TlsConnector(files.trusted))

    def enroll(self, serial: str, by: Deadline, octets: bytes = b"") -> Answer:
        user, password = self._login
        login = base64.b64encode(user.encode() + b":" + password().reveal()).decode()
        return self.http.request(
            "POST",
            "/.well-known/est/simpleenroll",
            by=by,
            headers={"authorization": f"Basic {login}"},
            body=base64.encodebytes(octets or request(serial)),
        )


@pytest.fixture
def asking(authority: Authority, tmp_path: Path) -> Iterator[Asking]:
    files = ServiceFiles(tmp_path)
    with files.serving(lambda: authority, days=30, signing_seconds=2.0) as running:
        client = Asking(authority, files, running.est.port)
        yield client
        client.http.close()


@pytest.mark.fault(
    "Services",
    "the HSM is lost in mid-service of trustbox factory serve (time-out, worker killed, link)",
    comes="HTTP 503 with Retry-After while it is away; never 400 or 401",
    then="nothing: the next request logs in again by itself",
    case="F-08",
)
def test_est_server_whose_hsm_was_away_says_503_and_serves_again(
    asking: Asking, by: Deadline
) -> None:
    to_worker(asking.authority.token, signal.SIGSTOP)
    away = asking.enroll("TB-HSM-2", by)
    back = asking.enroll("TB-HSM-2", by)
    to_worker(asking.authority.token, signal.SIGKILL)
    again = asking.enroll("TB-HSM-3", by)

    assert (away.status, away.header("retry-after")) == (503, "5")
    assert b"cannot be used now" in away.body
    assert (back.status, again.status) == (200, 200)


@pytest.mark.fault(
    "Services",
    "the CA's key is gone from its token while trustbox factory serve runs",
    comes="HTTP 500 with the cause, never 400 or 403; nothing is signed",
    then="bring the token back, or its backup",
)
def test_est_server_whose_own_key_is_gone_says_500_and_blames_no_request(
    asking: Asking, by: Deadline
) -> None:
    bad = asking.enroll("TB-HSM-4", by, b"no request")
    asking.authority.token.destroy("private", ISSUING_ID, by=by)
    gone = asking.enroll("TB-HSM-4", by)

    assert (bad.status, gone.status) == (400, 500)
    assert b"does not hold the key" in gone.body
