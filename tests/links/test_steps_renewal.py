"""A plan's certificate is renewed by EST before it ends, and enrolled with proof of possession.

The box (this host over SSH, SoftHSM2 in the TEE's place: see host_box) makes the handshake of a
renewal itself, with the key in its token.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from harness.errors import BadInput
from provisioning.http_errors import ServiceRefused
from provisioning.run import Outcome, Provisioned
from provisioning.station import Station
from tests.links.est_estserver import EstServer, estserver
from tests.links.est_fault_marks import UNPROVEN
from tests.links.est_issuing import outcome
from tests.links.host_box import SERIAL, HostBox, host_box, recorded
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


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


def tables(server: EstServer, *, password: Path, more: str = "") -> str:
    root = server.pki.here / "ca.pem"
    return (
        f'[enrollment.est]\nserver = "{server.url}"\ntrusted = "{root}"\nca = "{root}"\n'
        f'profile = "client"\nuser = "estuser"\npassword_file = "{password}"\n{more}'
    )


@pytest.fixture
def password(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text("estpwd\n")
    return file


def leaf(done: Provisioned) -> x509.Certificate:
    assert done.work.chain is not None
    return done.work.chain[0]


def renewed(box: HostBox, station: Station, first: str, second: str) -> tuple[Provisioned, ...]:
    return box.run(box.plan(first), station), box.run(box.plan(second), station)


def test_certificate_that_ends_soon_is_renewed_by_its_own_handshake(
    box: HostBox, station: Station, password: Path, tmp_path: Path
) -> None:
    """libest's server, whose certificates have 30 days; -o: a certificate is as good as a login."""
    (tmp_path / "est").mkdir()
    with estserver(tmp_path / "est", "-o") as server:
        before = tables(server, password=password)
        after = tables(server, password=password, more="renew_days = 31\n")
        first, second = renewed(box, station, before, after)
        issued = server.issued()

    assert issued == 2
    assert outcome(second, "certificate") is Outcome.DONE
    assert any("renewed by EST" in report.said for report in second.reports)
    assert leaf(second).serial_number != leaf(first).serial_number
    assert (leaf(second).subject, leaf(second).public_key()) == (
        leaf(first).subject,
        leaf(first).public_key(),
    )
    assert box.chain.read_bytes().startswith((station.records(SERIAL) / "device.pem").read_bytes())
    assert recorded(station, "certificate", "superseded") == [f"{leaf(first).serial_number:x}"]
    assert not (station.records(SERIAL) / "renewal.der").exists()


def test_idevid_is_renewed_by_the_stations_own_server_with_all_its_names(
    box: HostBox, station: Station
) -> None:
    own = '[enrollment.est]\nserver = "station"\n'

    first, second = renewed(box, station, own, f"{own}renew_days = 3650\n")

    old, new = leaf(first), leaf(second)
    assert new.serial_number != old.serial_number
    names = [
        c.extensions.get_extension_for_class(x509.SubjectAlternativeName).value for c in (old, new)
    ]
    assert names[0] == names[1]


def test_certificate_that_lasts_long_enough_is_left_alone(box: HostBox, station: Station) -> None:
    own = '[enrollment.est]\nserver = "station"\n'

    _, second = renewed(box, station, own, f"{own}renew_days = 30\n")

    assert outcome(second, "certificate") is Outcome.ALREADY


@UNPROVEN
def test_request_is_bound_to_its_connection_where_the_plan_says_so(
    box: HostBox, station: Station, password: Path, tmp_path: Path
) -> None:
    """libest's server with -t takes no other; the key that signs is in the token."""
    (tmp_path / "est").mkdir()
    with estserver(tmp_path / "est", "-t") as strict:
        with pytest.raises(ServiceRefused, match="Proof of Possession"):
            box.run(box.plan(tables(strict, password=password)), station)
        bound = tables(strict, password=password, more='proof = "tls-unique"\n')
        done = box.run(box.plan(bound), station)

    assert outcome(done, "certificate") is Outcome.DONE
    assert not (station.records(SERIAL) / "est-parked.json").exists()


@pytest.mark.fault(
    "EST",
    "a renewal at a server that wants the line's login all the same",
    comes="ServiceRefused, status 6; the old certificate stays",
    then="let the server take a certificate alone for re-enrollment",
)
def test_login_of_the_line_is_not_given_to_the_box(
    box: HostBox, station: Station, password: Path, tmp_path: Path
) -> None:
    """A server that wants it all the same refuses; the old certificate stays."""
    (tmp_path / "est").mkdir()
    with estserver(tmp_path / "est") as server:
        box.run(box.plan(tables(server, password=password)), station)
        before = box.chain.read_bytes()
        renewing = tables(server, password=password, more="renew_days = 31\n")
        with pytest.raises(ServiceRefused, match="wants a login"):
            box.run(box.plan(renewing), station)

    assert before == box.chain.read_bytes()
    assert len(list((station.records(SERIAL) / "issued").iterdir())) == 1


def test_plan_cannot_ask_for_both(box: HostBox) -> None:
    text = (
        '[enrollment.est]\nserver = "https://x"\nca = "r"\nproof = "tls-unique"\nrenew_days = 9\n'
    )

    with pytest.raises(BadInput, match=r"enrollment\.est\.proof"):
        box.plan(text)
