"""A PIN is counted before OpenSSL gets it: one wrong --pin-file is one try, and at five none is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DeviceRefused, TokenRefused
from provisioning.cli.enroll_options import Client
from provisioning.station import Station
from provisioning.token_state import TokenState
from tests.links.dps_server import DpsServer
from tests.links.dps_token import KEY_ID, PIN, DeviceToken, device_token
from tests.links.est_pki import Pki
from tests.links.peers import pkcs11_provider

pytestmark = pytest.mark.slow

DEVICE = "tb-token-0001"
URI = "pkcs11:token=box%20one;type=private;id=" + "".join(f"%{octet:02x}" for octet in KEY_ID)


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture
def token(tmp_path: Path, pki: Pki) -> Iterator[DeviceToken]:
    with device_token(tmp_path / "token", pki, DEVICE, far=False) as made:
        yield made


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: DeviceToken) -> Path:
    """Has a line for each openssl that was started."""
    words, log = tmp_path / "bin", tmp_path / "started"
    words.mkdir()
    real = shutil.which("openssl")
    (words / "openssl").write_text(f'#!/bin/sh\necho started >>"{log}"\nexec {real} "$@"\n')
    (words / "openssl").chmod(0o755)
    log.touch()
    monkeypatch.setenv("PATH", f"{words}:{os.environ['PATH']}")
    for name, value in token.remote.environment.items():
        monkeypatch.setenv(name, value)
    return log


def client(token: DeviceToken, tmp_path: Path, pin: bytes, uri: str = URI) -> Client:
    for name, text in (("chain.pem", token.identity.chain.encode()), ("pin", pin + b"\n")):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_bytes(text)
    (tmp_path / "trusted.pem").write_text(token.identity.chain)
    return Client(
        trusted=tmp_path / "trusted.pem",
        chain=tmp_path / "chain.pem",
        key=uri,
        module=Path(token.identity.module),
        provider=pkcs11_provider(),
        pin_file=tmp_path / "pin",
        state=tmp_path / "state",
    )


def connect(mine: Client, server: DpsServer, by: Deadline) -> None:
    with mine.connector() as connector:
        connection = connector.connect("localhost", server.port, by=by)
        connection.send(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", by=by)
        connection.receive(1, by=by)
        connection.close()


def state_of(token: DeviceToken, by: Deadline) -> TokenState:
    found = token.remote.token.labelled("box one", by=by)
    assert found is not None
    return found


@pytest.mark.fault(
    "Token",
    "the file with a token's PIN is wrong, in est or dps register, run again and again",
    comes="TokenRefused, status 6, CKR_PIN_INCORRECT, one counted try a run; after five none is"
    " made",
    then="find the right PIN, then trustbox keys pin forget-failures --hsm URI",
)
def test_a_wrong_pin_is_one_counted_try_a_run_and_after_five_none_is_made(
    token: DeviceToken, started: Path, tmp_path: Path, pki: Pki, by: Deadline
) -> None:
    wrong = client(token, tmp_path, b"not-the-pin")
    budget = Station(tmp_path / "state").pin_budget
    with DpsServer(pki) as server:
        for tries in (1, 2, 3, 4, 5):
            with pytest.raises(TokenRefused, match="CKR_PIN_INCORRECT"):
                connect(wrong, server, by)
            assert budget.failures(state_of(token, by), "user") == tries
        for _ in range(2):
            with pytest.raises(TokenRefused, match="CKR_PIN_LOCKED") as refused:
                connect(client(token, tmp_path, PIN.reveal()), server, by)
            assert "Not tried" in refused.value.hint
            assert "forget-failures --hsm 'pkcs11:token=box%20one;" in refused.value.hint

    assert budget.failures(state_of(token, by), "user") == 5
    assert started.read_text() == ""


def test_the_right_pin_reaches_openssl_and_takes_the_count_back(
    token: DeviceToken, started: Path, tmp_path: Path, pki: Pki, by: Deadline
) -> None:
    budget = Station(tmp_path / "state").pin_budget
    with DpsServer(pki) as server:
        with pytest.raises(TokenRefused):
            connect(client(token, tmp_path, b"not-the-pin"), server, by)
        right = client(token, tmp_path, PIN.reveal())
        (tmp_path / "trusted.pem").write_text(pki.text)
        connect(right, server, by)

        assert server.handshakes == 1
    assert budget.failures(state_of(token, by), "user") == 0
    assert started.read_text() == "started\n"


def test_a_token_that_is_not_there_is_named_before_a_try(
    token: DeviceToken, started: Path, tmp_path: Path, pki: Pki, by: Deadline
) -> None:
    absent = client(token, tmp_path, PIN.reveal(), "pkcs11:token=box%20two;id=%01")
    with DpsServer(pki) as server, pytest.raises(DeviceRefused, match=r"no token .*box two"):
        connect(absent, server, by)

    assert started.read_text() == ""


def test_a_command_counts_in_the_station_s_directory(
    token: DeviceToken, started: Path, tmp_path: Path, pki: Pki, by: Deadline
) -> None:
    client(token, tmp_path, b"not-the-pin")
    files = {name: str(tmp_path / name) for name in ("chain.pem", "trusted.pem", "pin", "state")}
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from provisioning.cli import main; main()"),
            *("dps", "register", DEVICE, "--id-scope", "0ne00ABCDEF", "--key", URI),
            *("--endpoint", "https://localhost:1", "--module", token.identity.module),
            *("--chain", files["chain.pem"], "--trusted", files["trusted.pem"]),
            *("--pin-file", files["pin"], "--state", files["state"]),
        ],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (6, "")
    assert "CKR_PIN_INCORRECT" in done.stderr
    assert Station(tmp_path / "state").pin_budget.failures(state_of(token, by), "user") == 1
