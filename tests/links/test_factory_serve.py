"""``trustbox factory serve``: both servers for as long as it runs, and what they show."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from harness.deadline import Deadline
from harness.errors import LinkError
from provisioning.certificates import der
from provisioning.challenge import ChallengeServer
from provisioning.est import EstClient
from provisioning.http_client import Http
from provisioning.http_errors import ServiceRefused
from provisioning.http_tls import TlsConnector
from provisioning.local_http import LOOPBACK, ServerFiles
from provisioning.local_services import ID_SCOPE, ServiceFiles, listening_at
from provisioning.local_tls import TlsFiles
from provisioning.station import Station
from tests.links.est_pki import Pki

pytestmark = pytest.mark.slow


@contextmanager
def serving(state: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
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


def test_port_that_somebody_has_is_said_and_nothing_is_served(tmp_path: Path) -> None:
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
        Station(tmp_path).authority(by=by) as ca,
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


def test_certificate_is_kept_until_it_lacks_a_name(tmp_path: Path) -> None:
    files = TlsFiles(tmp_path / "tls")
    files.ensure([])
    first = files.root.read_bytes()
    files.ensure(["localhost"])
    assert files.root.read_bytes() == first

    files.ensure(["10.0.2.2"])
    second = files.root.read_bytes()
    files.ensure([])

    assert second != first
    assert files.root.read_bytes() == second
    server = x509.load_pem_x509_certificate(files.server.chain.read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(n) for n in names.get_values_for_type(x509.IPAddress)] == ["10.0.2.2", "127.0.0.1"]


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "noise", "another's"])
@pytest.mark.parametrize("name", ["server.key", "server.pem", "root.pem"])
def test_certificate_of_which_a_file_is_damaged_is_made_anew(
    tmp_path: Path, name: str, damage: str
) -> None:
    files, others = TlsFiles(tmp_path / "tls"), TlsFiles(tmp_path / "others")
    files.ensure([])
    others.ensure([])
    damaged, first = files.here / name, files.root.read_bytes()
    whole = damaged.read_bytes()
    damaged.unlink()
    if damage != "gone":
        foreign = (others.here / name).read_bytes()
        left = {"empty": b"", "cut": whole[:90], "noise": bytes(range(256)), "another's": foreign}
        damaged.write_bytes(left[damage])

    files.ensure([])

    assert files.root.read_bytes() not in (first, others.root.read_bytes())


def test_challenge_is_answered_to_who_shows_a_certificate_and_to_nobody_else(pki: Pki) -> None:
    by = Deadline.after(30)
    files = ServerFiles(pki.here / "server.pem", pki.here / "server.key")
    mine = pki.identity("tb-1")
    leaf = x509.load_pem_x509_certificate(mine.chain.read_bytes())
    with ChallengeServer(files, trusted=pki.text) as server:
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


def _digest(of: x509.Certificate) -> str:
    return hashlib.sha256(der(of)).hexdigest()
