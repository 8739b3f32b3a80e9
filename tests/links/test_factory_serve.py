"""``trustbox factory serve``: both servers for as long as it runs, and what they show."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from harness.deadline import Deadline
from harness.errors import LinkError, RigError
from provisioning.certificates import der
from provisioning.challenge import ChallengeServer
from provisioning.est import EstClient
from provisioning.http_client import Http
from provisioning.http_errors import ServiceRefused
from provisioning.http_tls import TlsConnector
from provisioning.idevid import validity
from provisioning.local_http import LOOPBACK, ServerFiles
from provisioning.local_services import ID_SCOPE, ServiceFiles, listening_at
from provisioning.local_tls import TlsFiles
from provisioning.station import Station
from tests.links.est_pki import Pki
from tests.typed import trustbox

pytestmark = pytest.mark.slow


@contextmanager
def serving(state: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    if not (state / "ca").exists():
        with Station(state).authority(make=True, by=Deadline.after(60)):
            pass
    command = "from provisioning.cli import main; main()"
    argv = [sys.executable, "-c", command, "factory", "serve", "--state", str(state), "--json"]
    process = subprocess.Popen(
        [*argv, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, process.communicate()
        yield process, json.loads(line)
    finally:
        process.kill()
        process.communicate()


def test_it_serves_until_interrupted_and_then_again_at_the_same_ports(tmp_path: Path) -> None:
    """Connections that it ends, and we do not, keep the kernel from giving the ports to others."""
    by = Deadline.after(60)
    told = []
    with ExitStack() as kept:
        for number in (signal.SIGINT, signal.SIGTERM):
            with serving(tmp_path) as (process, said):
                trusted = Path(said["trusted"]).read_text()
                for served in (said["est"], said["dps"]):
                    keeps = kept.enter_context(closing(Http(served, TlsConnector(trusted))))
                    keeps.connection(by=by)
                with EstClient(said["est"], TlsConnector(trusted)) as client:
                    assert len(client.cacerts(by=by)) == 2
                process.send_signal(number)
                _, words = process.communicate(timeout=30)
                told.append((said["est"], said["dps"]))
            assert (process.returncode, words) == (0, b"both ended\n")
            with EstClient(said["est"], TlsConnector(trusted)) as client, pytest.raises(LinkError):
                client.cacerts(by=by)

    assert told[0] == told[1]


@pytest.mark.fault(
    "Services",
    "factory serve with a mistyped --state, or before there is a CA",
    comes="Misuse, status 2; no CA, no file and no directory is made",
    then="give the right --state, or run trustbox ca init",
    case="F-04",
)
def test_factory_without_a_ca_serves_nothing_and_makes_nothing(tmp_path: Path) -> None:
    done = trustbox("factory", "serve", "--state", str(tmp_path / "mistyped"))

    assert (done.status, done.out) == (2, "")
    assert "Is --state right?" in done.err
    assert list(tmp_path.iterdir()) == []


def test_port_that_somebody_has_is_said_and_nothing_is_served(tmp_path: Path) -> None:
    with Station(tmp_path).authority(make=True, by=Deadline.after(60)):
        pass
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [
                *(sys.executable, "-c", "from provisioning.cli import main; main()"),
                *("factory", "serve", "--state", str(tmp_path), "--est-port", str(port)),
            ],
            capture_output=True,
            check=False,
            timeout=60,
        )

    assert (done.returncode, done.stdout) == (2, b"")
    assert f"127.0.0.1:{port} cannot be listened on".encode() in done.stderr


def test_run_for_a_box_on_the_network_serves_est_on_the_loopback_all_the_same(
    tmp_path: Path,
) -> None:
    """127.0.0.2 in the place of the address by which a box on a bench knows its station."""
    by, files, address = Deadline.after(60), ServiceFiles(tmp_path), "127.0.0.2"
    assert listening_at(address) == address
    assert listening_at("192.0.2.1") == LOOPBACK
    with (
        Station(tmp_path).authority(make=True, by=by) as ca,
        files.serving(
            lambda: ca, days=1, names=[address], listen=address, est_listen=LOOPBACK
        ) as running,
    ):
        connector = TlsConnector(running.trusted)
        with EstClient(f"https://localhost:{running.est.port}", connector) as client:
            assert len(client.cacerts(by=by)) == 2
        asked = Http(f"https://{address}:{running.dps.port}", connector)
        scope = f"/{ID_SCOPE}/registrations/tb-1?api-version=2021-06-01"
        assert asked.request("POST", scope, by=by).status == 401
        asked.close()


def server_of(files: TlsFiles) -> x509.Certificate:
    """The server's certificate, which the root's key signed, for the key beside it."""
    found = x509.load_pem_x509_certificate(files.server.chain.read_bytes())
    found.verify_directly_issued_by(x509.load_pem_x509_certificate(files.root.read_bytes()))
    key = serialization.load_pem_private_key(files.server.key.read_bytes(), None)
    assert key.public_key() == found.public_key()
    return found


def all_of(files: TlsFiles) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in files.here.iterdir()}


def test_certificate_is_made_anew_for_another_name_and_the_root_stays(tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "tls")
    files.ensure([])
    first = all_of(files)
    files.ensure(["localhost"])
    assert all_of(files) == first

    files.ensure(["10.0.2.2"])
    second = all_of(files)
    files.ensure([])

    assert all_of(files) == second
    assert {name for name in first if first[name] != second[name]} == {"server.pem"}
    names = server_of(files).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(n) for n in names.get_values_for_type(x509.IPAddress)] == ["10.0.2.2", "127.0.0.1"]


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "noise", "another's"])
@pytest.mark.parametrize("name", ["server.key", "server.pem", "root.pem"])
def test_file_that_is_damaged_is_made_anew_and_who_stored_the_root_notices_nothing(
    tmp_path: Path, name: str, damage: str
) -> None:
    files, before = damaged(tmp_path, name, damage)

    files.ensure([])

    server_of(files).verify_directly_issued_by(x509.load_pem_x509_certificate(before["root.pem"]))
    assert files.root_key.read_bytes() == before["root.key"]


@pytest.mark.fault(
    "Services",
    "the key of the services' TLS root is gone, damaged or another's (services/tls/root.key)",
    comes="nothing while the server's certificate lasts; then RigError, status 8, nothing written",
    then="bring root.key back; if it is lost for good, move services/tls away and give the new"
    " root.pem to who stored the old one",
)
@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "noise", "another's"])
def test_root_whose_key_is_lost_serves_on_and_is_never_made_anew_silently(
    tmp_path: Path, damage: str
) -> None:
    files, _ = damaged(tmp_path, "root.key", damage)
    left = all_of(files)

    files.ensure([])
    with pytest.raises(RigError, match=r"root\.key is (gone|damaged|another root's)") as lost:
        files.ensure(["10.0.2.2"])

    assert all_of(files) == left
    assert "for 10.0.2.2 cannot be made" in lost.value.message
    assert "everybody who stored root.pem" in lost.value.hint


def damaged(place: Path, name: str, damage: str) -> tuple[TlsFiles, dict[str, bytes]]:
    files, others = TlsFiles(place / "tls"), TlsFiles(place / "others")
    files.ensure([])
    others.ensure([])
    before, path = all_of(files), files.here / name
    path.unlink()
    if damage != "gone":
        foreign = (others.here / name).read_bytes()
        left = {"empty": b"", "cut": before[name][:90], "noise": bytes(range(256))}
        path.write_bytes({**left, "another's": foreign}[damage])
    return files, before


@pytest.mark.fault(
    "Services",
    "the station's clock was years ahead once, and then right again",
    comes="the services' TLS certificates of the future are made again, under the same root's key",
    then="nothing: who stored root.pem before goes on",
)
@pytest.mark.parametrize("days", [-400, 800, 5000])
def test_certificates_of_another_time_are_made_anew_under_the_same_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """Made at a clock that was so many days wrong; used at the right one."""
    files = TlsFiles(tmp_path / "tls")
    wrong = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    with monkeypatch.context() as patched:
        patched.setattr("provisioning.local_tls.validity", lambda d: validity(d, now=wrong))
        files.ensure([])
    before = x509.load_pem_x509_certificate(files.root.read_bytes())

    files.ensure([])

    made, now = server_of(files), datetime.datetime.now(datetime.UTC)
    made.verify_directly_issued_by(before)
    for one in (made, x509.load_pem_x509_certificate(files.root.read_bytes())):
        assert one.not_valid_before_utc <= now < one.not_valid_after_utc


def test_running_server_shows_the_certificate_that_a_run_made_meanwhile(tmp_path: Path) -> None:
    """127.0.0.2 in the place of another box's name for this station."""
    with serving(tmp_path) as (_, said):
        trusted, port = Path(said["trusted"]).read_text(), int(said["est"].rpartition(":")[2])
        context = ssl.create_default_context(cadata=trusted)

        def called(name: str) -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
                context.wrap_socket(plain, server_hostname=name).close()

        with pytest.raises(ssl.SSLCertVerificationError, match=r"127\.0\.0\.2"):
            called("127.0.0.2")
        ServiceFiles(tmp_path).prepare(["127.0.0.2"])
        called("127.0.0.2")
        called("localhost")

    assert Path(said["trusted"]).read_text() == trusted


def test_challenge_is_answered_to_who_shows_a_certificate_and_to_nobody_else(pki: Pki) -> None:
    by = Deadline.after(30)
    files = ServerFiles(pki.here / "server.pem", pki.here / "server.key")
    mine = pki.identity("tb-1")
    leaf = x509.load_pem_x509_certificate(mine.chain.read_bytes())
    with ChallengeServer(files, trusted=pki.text, judge=lambda _: "") as server:
        url = f"https://localhost:{server.port}"
        stranger = Http(url, TlsConnector(pki.text))
        with pytest.raises((ServiceRefused, LinkError)):
            stranger.request("GET", server.path, by=by)
        assert not server.heard_from(_digest(leaf))
        known = Http(url, TlsConnector(pki.text, mine))
        assert known.request("GET", f"/challenge/{'0' * 64}", by=by).status == 200
        assert not server.heard_from(_digest(leaf))
        known.request("GET", server.path, by=by)
        known.close()

    assert server.heard_from(_digest(leaf))
    assert not server.heard_from(_digest(pki.root))


def test_challenge_is_not_heard_from_a_certificate_that_does_not_count(pki: Pki) -> None:
    by = Deadline.after(30)
    files = ServerFiles(pki.here / "server.pem", pki.here / "server.key")
    mine = pki.identity("tb-1")
    leaf = x509.load_pem_x509_certificate(mine.chain.read_bytes())
    with ChallengeServer(files, trusted=pki.text, judge=lambda _: "was revoked") as server:
        known = Http(f"https://localhost:{server.port}", TlsConnector(pki.text, mine))
        assert known.request("GET", server.path, by=by).status == 403
        known.close()

    assert server.refused == "was revoked"
    assert not server.heard_from(_digest(leaf))


def _digest(of: x509.Certificate) -> str:
    return hashlib.sha256(der(of)).hexdigest()
