"""``trustbox est`` as a script of a factory uses it."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest
from cryptography import x509

from tests.links.est_asking import KEY, REQUEST, p7
from tests.links.est_command import trustbox
from tests.links.est_pki import Pki
from tests.links.est_script import ScriptedServer, answer

pytestmark = pytest.mark.slow

PASSWORD = b"planted-est-password-9917"
LATER = answer(b"", status="202 Accepted", Retry_After="3600")


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    made = Pki.make(tmp_path)
    (tmp_path / "device.csr").write_bytes(REQUEST)
    return made


def test_ca_certificates_are_printed(pki: Pki) -> None:
    with ScriptedServer(pki, answer(p7(pki.root))) as server:
        done = trustbox("est", "cacerts", server.url, "--trusted", str(pki.here / "ca.pem"))

    assert (done.returncode, done.stderr) == (0, b"")
    assert x509.load_pem_x509_certificates(done.stdout) == [pki.root]


def test_certificate_is_written_and_told_as_json(pki: Pki) -> None:
    leaf = pki.issue(KEY.public_key(), "tb-trap-0001")
    with ScriptedServer(pki, answer(p7(leaf))) as server:
        done = trustbox(
            *("est", "enroll", server.url, "--csr", str(pki.here / "device.csr"), "--json"),
            *("--trusted", str(pki.here / "ca.pem"), "--out", str(pki.here / "leaf.pem")),
            *("--user", "estuser", "--password-file", "-"),
            stdin=PASSWORD + b"\n",
        )

    told = json.loads(done.stdout)
    assert (told["parked"], told["certificates"][0]["subject"]) == (False, "CN=tb-trap-0001")
    assert x509.load_pem_x509_certificate((pki.here / "leaf.pem").read_bytes()) == leaf
    assert b"authorization: basic " in server.requests[0].lower()
    assert PASSWORD not in done.stdout + done.stderr


def test_enrollment_that_is_put_off_is_status_9_and_goes_on_when_its_time_has_come(
    pki: Pki,
) -> None:
    parked = pki.here / "parked.json"
    leaf = pki.issue(KEY.public_key(), "tb-trap-0001")
    with ScriptedServer(pki, LATER, answer(p7(leaf))) as server:
        words = (
            *("est", "enroll", server.url, "--csr", str(pki.here / "device.csr")),
            *("--trusted", str(pki.here / "ca.pem"), "--parked", str(parked), "--json"),
        )
        first, early = trustbox(*words), trustbox(*words)
        kept = json.loads(parked.read_text())
        kept["until"] = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC).isoformat()
        parked.write_text(json.dumps(kept))
        last = trustbox(*words)

    assert (first.returncode, early.returncode, last.returncode) == (9, 9, 0)
    assert json.loads(first.stdout)["parked"]
    assert len(server.requests) == 2
    assert not parked.exists()


def test_another_request_does_not_take_a_parked_ones_place(pki: Pki) -> None:
    parked = pki.here / "parked.json"
    parked.write_text(
        '{"operation": "simpleenroll", "request": "MAA=", "bound": false,'
        ' "until": "2020-01-01T00:00:00+00:00"}'
    )
    with ScriptedServer(pki, LATER) as server:
        done = trustbox(
            *("est", "enroll", server.url, "--csr", str(pki.here / "device.csr")),
            *("--trusted", str(pki.here / "ca.pem"), "--parked", str(parked)),
        )

    assert done.returncode == 2
    assert b"another enrollment waits" in done.stderr
    assert server.requests == []


def test_refusal_as_json_is_one_object_and_status_6(pki: Pki) -> None:
    with ScriptedServer(pki, answer(b"no", status="400 Bad Request")) as server:
        done = trustbox(
            *("est", "enroll", server.url, "--csr", str(pki.here / "device.csr"), "--json"),
            *("--trusted", str(pki.here / "ca.pem")),
        )

    told = json.loads(done.stderr)
    assert (done.returncode, told["error"], told["exit_status"]) == (6, "ServiceRefused", 6)


def test_untrusted_server_is_status_5(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    Pki.make(tmp_path / "other", "another root")
    with ScriptedServer(pki, LATER) as server:
        done = trustbox("est", "cacerts", server.url, "--trusted", str(tmp_path / "other/ca.pem"))

    assert done.returncode == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--csr", "absent.csr"), "a readable file"),
        (("--csr", "ca.pem"), "PKCS#10"),
        (("--csr", "device.csr", "--user", "x"), "go together"),
        (("--csr", "device.csr", "--chain", "ca.pem"), "go together"),
        (
            ("--csr", "device.csr", "--user", "x", "--password-file", "open"),
            "others than its owner",
        ),
        (("--csr", "device.csr", "--chain", "ca.pem", "--key", "pkcs11:token=a"), "--module"),
        (
            ("--csr", "device.csr", "--chain", "ca.pem", "--key", "pkcs11:token=a?pin-value=9"),
            "can be seen by everybody",
        ),
    ],
)
def test_options_that_make_no_sense_are_status_2_before_anybody_is_asked(
    pki: Pki, words: tuple[str, ...], said: str
) -> None:
    (pki.here / "open").write_text("secret\n")
    (pki.here / "open").chmod(0o644)
    files = ("absent.csr", "ca.pem", "device.csr", "open")
    placed = [str(pki.here / word) if word in files else word for word in words]
    with ScriptedServer(pki, LATER) as server:
        done = trustbox("est", "enroll", server.url, *placed, "--trusted", str(pki.here / "ca.pem"))

    assert (done.returncode, server.requests) == (2, [])
    assert said in done.stderr.decode()
