"""``verify`` of a box whose record's files were changed.

SoftHSM2 stands in the TEE's token's place, at the far end of SSH: see host_box. The checks that
need a TEE are tests/device's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from provisioning.certificates import pem
from provisioning.reprove import Verdict
from provisioning.station import Station
from tests.links.est_pki import Pki
from tests.links.host_box import SERIAL, HostBox, host_box
from tests.links.proving import OWN, failed, proved, run
from tests.links.sshd import LocalSshd

pytestmark = pytest.mark.slow


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


@pytest.fixture
def box(sshd: LocalSshd, tmp_path: Path, station: Station) -> Iterator[HostBox]:
    """Provisioned, and proved to be as its record says."""
    place = tmp_path / "box"
    place.mkdir()
    with host_box(sshd, place) as made:
        run(made, made.plan(OWN), station)
        proof = proved(made, station)
        assert (proof.exit_status, failed(proof)) == (0, {})
        yield made


def other_chain(place: Path, pki: Pki) -> None:
    (place / "chain.pem").write_bytes(pem(pki.root))


def other_root(place: Path, pki: Pki) -> None:
    (place / "root.pem").write_bytes(pem(pki.root))


def one_more_issuer(place: Path, pki: Pki) -> None:
    (root,) = x509.load_pem_x509_certificates((place / "root.pem").read_bytes())
    kept = (place / "chain.pem").read_bytes()
    (place / "chain.pem").write_bytes(pem(pki.root) + kept)
    assert kept.endswith(pem(root))


def edited(**changes: object) -> Callable[[Path, Pki], None]:
    def edit(place: Path, pki: Pki) -> None:
        record = json.loads((place / "record.json").read_text())
        for name, found in changes.items():
            record["certificate"][name]["value"] = found
        (place / "record.json").write_text(json.dumps(record))

    return edit


@pytest.mark.fault(
    "Record",
    "chain.pem or root.pem beside the record is another CA's, or the record's words about the"
    " certificate were edited",
    comes="verify ends with status 7 and names the file, or the word",
    then="run provision again: it writes them again from what the box shows",
)
@pytest.mark.parametrize(
    ("spoil", "check", "said"),
    [
        pytest.param(other_chain, "files", "chain.pem", id="chain of another CA"),
        pytest.param(other_root, "files", "root.pem is another CA's", id="root of another CA"),
        pytest.param(one_more_issuer, "files", "certificates of others", id="one more issuer"),
        pytest.param(edited(serial="1a"), "certificate", "serial is", id="number edited"),
        pytest.param(
            edited(superseded=["1a"]), "certificate", "that it replaces", id="superseded edited"
        ),
        pytest.param(edited(subject="CN=x"), "certificate", "subject is", id="subject edited"),
    ],
)
def test_what_the_line_hands_on_with_a_box_is_proved_too(
    box: HostBox,
    station: Station,
    tmp_path: Path,
    spoil: Callable[[Path, Pki], None],
    check: str,
    said: str,
) -> None:
    (tmp_path / "pki").mkdir()
    spoil(station.records(SERIAL), Pki.make(tmp_path / "pki"))

    proof = proved(box, station)

    assert proof.exit_status == 7
    assert failed(proof)[check].verdict is Verdict.FAILED
    assert said in failed(proof)[check].said
