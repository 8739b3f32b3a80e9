"""The line enrolls boxes by a certificate of its own, as a registration authority does.

libest's estserver is the other end. The box is this host over SSH (host_box).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import BadInput
from provisioning.http_errors import ServiceRefused
from provisioning.http_tls import FileIdentity
from provisioning.plan import Plan
from provisioning.run import Outcome
from provisioning.station import Station
from tests.links.est_estserver import EstServer, estserver
from tests.links.est_issuing import outcome
from tests.links.est_pki import Pki
from tests.links.host_box import SERIAL, HostBox, host_box
from tests.links.sshd import LocalSshd

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared_box(sshd: LocalSshd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostBox]:
    with host_box(sshd, tmp_path_factory.mktemp("box")) as made:
        yield made


@pytest.fixture
def box(shared_box: HostBox) -> HostBox:
    shared_box.clean()
    return shared_box


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EstServer]:
    """-o: a certificate that its CA knows is as good as a login."""
    with estserver(tmp_path_factory.mktemp("estserver"), "-o") as running:
        yield running


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


def plan(box: HostBox, server: EstServer, mine: FileIdentity | None) -> Plan:
    root = server.pki.here / "ca.pem"
    shown = f'chain = "{mine.chain}"\nkey = "{mine.key}"\n' if mine else ""
    return box.plan(
        f'[enrollment.est]\nserver = "{server.url}"\ntrusted = "{root}"\nca = "{root}"\n'
        f'profile = "client"\n{shown}'
    )


def test_certificate_of_the_line_is_enough_for_a_box_to_be_certified(
    box: HostBox, server: EstServer, station: Station
) -> None:
    before = server.issued()

    done = box.run(plan(box, server, server.pki.identity("line-1")), station)

    assert outcome(done, "certificate") is Outcome.DONE
    assert server.issued() == before + 1
    assert box.chain.exists()


@pytest.mark.fault(
    "EST",
    "the line's own certificate is absent, another CA's, or ended",
    comes="ServiceRefused, status 6; nothing was issued",
    then="name a certificate in the plan that the server's CA knows, then run again",
)
@pytest.mark.parametrize("whose", ["nobody's", "another CA's", "one that has ended"])
def test_certificate_that_the_server_does_not_take_gets_nothing(
    box: HostBox, server: EstServer, station: Station, tmp_path: Path, whose: str
) -> None:
    mine = None if whose == "nobody's" else Pki.make(tmp_path, "another root").identity("line-2")
    if whose == "one that has ended":
        mine = server.pki.identity("line-3", ended=True)
    before = server.issued()

    with pytest.raises(ServiceRefused):
        box.run(plan(box, server, mine), station)

    assert server.issued() == before
    assert not box.chain.exists()


@pytest.mark.fault(
    "EST",
    "the key of the line's own certificate can be read by others",
    comes="BadInput, status 2; nothing was issued",
    then="chmod 0600 the key's file; replace the key if somebody may have read it",
)
def test_key_that_others_may_read_is_not_used(
    box: HostBox, server: EstServer, station: Station
) -> None:
    mine, before = server.pki.identity("line-4"), server.issued()
    mine.key.chmod(0o640)

    with pytest.raises(BadInput, match="0600"):
        box.run(plan(box, server, mine), station)

    assert server.issued() == before


def test_nothing_of_the_lines_key_is_kept_with_the_record(
    box: HostBox, server: EstServer, station: Station
) -> None:
    mine = server.pki.identity("line-5")
    secret = mine.key.read_text().splitlines()[1]

    box.run(plan(box, server, mine), station)

    kept = [p.read_bytes() for p in station.records(SERIAL).rglob("*") if p.is_file()]
    assert kept
    assert not any(secret.encode() in text for text in kept)
