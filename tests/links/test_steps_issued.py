"""What becomes of a certificate that a run had issued when the run does not come to its end; and a
CA that is made by itself, or is not.

SoftHSM2 stands in the TEE's token's place, at the far end of SSH: see host_box.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import (
    DeviceRefused,
    IntegrityFailure,
    LinkLost,
    Misuse,
    TrustBoxError,
    UntrustedHost,
)
from harness.target import EvidenceLevel
from provisioning.http_errors import UntrustedServer
from provisioning.station import Station
from provisioning.work import Work
from tests.links.certified_box import Notes, certificates, objects, run
from tests.links.est_issuing import Issuing, plan_for
from tests.links.est_pki import Pki
from tests.links.est_script import ScriptedServer
from tests.links.host_box import SERIAL, HostBox, host_box
from tests.links.sshd import LocalSshd

pytestmark = pytest.mark.slow


@pytest.fixture
def blank(sshd: LocalSshd, tmp_path: Path) -> Iterator[HostBox]:
    place = tmp_path / "box"
    place.mkdir()
    with host_box(sshd, place) as made:
        yield made


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


@pytest.fixture
def box(blank: HostBox, station: Station) -> HostBox:
    """One that the station's CA certified."""
    run(blank, blank.plan(""), station)
    assert [entry.status for entry in certificates(station)] == ["active"]
    return blank


@dataclass
class Ends:
    """A step that ends the run."""

    problem: TrustBoxError
    name: str = "ends"
    doing: str = "ending"
    seconds: float = 5.0

    def look(self, work: Work, by: Deadline) -> str:
        raise self.problem


THE_BOXES_FAULT = [
    IntegrityFailure("not what it must be"),
    UntrustedHost("box", pinned="SHA256:a", offered="SHA256:b"),
]
NOT_ITS_FAULT = [LinkLost("the box went away"), UntrustedServer("est", "expired")]


@pytest.mark.fault(
    "Run",
    "the box turns out not to be what it must be after a certificate was issued for it",
    comes="status 7 (or 5); the certificate is on the CA's list of those to revoke",
    then="look at the box; trustbox ca revoke --pending works the list off",
)
@pytest.mark.parametrize("problem", THE_BOXES_FAULT, ids=lambda p: type(p).__name__)
def test_a_run_that_the_box_fails_puts_its_certificate_on_the_list_to_revoke(
    blank: HostBox, station: Station, problem: TrustBoxError
) -> None:
    notes = Notes()
    with pytest.raises(type(problem)):
        run(blank, blank.plan(""), station, Ends(problem), watcher=notes)
    [mine] = certificates(station)

    with pytest.raises(DeviceRefused, match="is to be revoked") as refused:
        run(blank, blank.plan(""), station)

    assert mine.status == "to revoke"
    assert mine.to_revoke is not None
    assert "ends" in mine.to_revoke
    assert any(f"{mine.number:x}" in said and "--pending" in said for said in notes.said)
    assert "--pending" in refused.value.hint


@pytest.mark.fault(
    "Run",
    "a run ends after a certificate was issued, and the box has no part in that",
    comes="the certificate is unfinished; the next run of that box takes it up",
    then="run provision again",
)
@pytest.mark.parametrize("problem", NOT_ITS_FAULT, ids=lambda p: type(p).__name__)
def test_a_run_that_ends_otherwise_leaves_its_certificate_to_the_next_one(
    blank: HostBox, station: Station, problem: TrustBoxError
) -> None:
    with pytest.raises(type(problem)):
        run(blank, blank.plan(""), station, Ends(problem))
    left = [entry.status for entry in certificates(station)]
    run(blank, blank.plan(""), station)

    assert left == ["unfinished"]
    assert [entry.status for entry in certificates(station)] == ["active"]


def test_a_certificate_that_the_box_fails_after_it_was_taken_up_is_to_be_revoked(
    blank: HostBox, station: Station
) -> None:
    with pytest.raises(LinkLost):
        run(blank, blank.plan(""), station, Ends(NOT_ITS_FAULT[0]))
    with pytest.raises(IntegrityFailure):
        run(blank, blank.plan(""), station, Ends(THE_BOXES_FAULT[0]))

    assert [entry.status for entry in certificates(station)] == ["to revoke"]


def test_an_active_certificate_stays_when_a_later_run_fails(box: HostBox, station: Station) -> None:
    """That run issued nothing: whether the old one is to be revoked, a person says."""
    with pytest.raises(IntegrityFailure):
        run(box, box.plan(""), station, Ends(THE_BOXES_FAULT[0]))

    assert [entry.status for entry in certificates(station)] == ["active"]


def test_what_another_ca_issued_is_told_to_be_revoked_there(
    blank: HostBox, station: Station, tmp_path: Path
) -> None:
    (tmp_path / "pki").mkdir()
    pki, notes = Pki.make(tmp_path / "pki"), Notes()
    with (
        ScriptedServer(pki, Issuing(pki, None)) as server,
        pytest.raises(IntegrityFailure),
    ):
        ends = Ends(THE_BOXES_FAULT[0])
        run(blank, plan_for(blank, server, pki), station, ends, watcher=notes)

    text = (station.records(SERIAL) / "journal.jsonl").read_text()
    told = [entry["said"] for entry in map(json.loads, text.splitlines())]
    assert "is to be revoked by its CA" in notes.said[-1]
    assert notes.said[-1] in told


def test_a_ca_that_was_made_by_itself_is_told(blank: HostBox, station: Station) -> None:
    notes = Notes()

    run(blank, blank.plan(""), station, watcher=notes)

    assert [said for said in notes.said if "one was made in" in said]


@pytest.mark.fault(
    "CA",
    "provision on hardware, and the station has no CA (or --state is mistyped)",
    comes="Misuse, status 2, before anything is made on the box or the station",
    then="correct --state; or trustbox ca init",
)
@pytest.mark.parametrize("level", [EvidenceLevel.HARDWARE, EvidenceLevel.HARDWARE_FUSED])
def test_no_ca_is_made_by_itself_for_hardware(
    blank: HostBox, station: Station, level: EvidenceLevel
) -> None:
    with pytest.raises(Misuse, match="is not set up") as refused:
        run(blank, blank.plan(""), station, level=level)

    assert "ca init" in refused.value.hint
    assert objects(blank) == []
    assert not (station.state / "hsm").exists()


@pytest.mark.fault(
    "CA",
    "an emulated box that another CA certified, and a station without one",
    comes="Misuse, status 2; no CA is made",
    then="correct --state; or trustbox ca init",
)
def test_no_ca_is_made_by_itself_for_a_box_that_another_ca_certified(
    box: HostBox, tmp_path: Path
) -> None:
    other = Station(tmp_path / "elsewhere")

    with pytest.raises(Misuse, match=r"was certified by .*, and this station has no CA"):
        run(box, box.plan(""), other)

    assert not (other.state / "hsm").exists()


@pytest.mark.fault(
    "CA",
    "provision, and the CA's directory or its index is lost",
    comes="Misuse, status 2, before anything is made on the box; nothing is signed",
    then="bring it back from the backup, or trustbox ca recover",
)
@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (".", "the CA of this station is lost"),
        ("index.sqlite", "index.sqlite is lost"),
        ("ca.json", "ca.json is lost"),
    ],
)
def test_a_station_that_lost_its_ca_does_nothing_to_a_box(
    box: HostBox, station: Station, lost: str, said: str
) -> None:
    place, before = station.state / "ca" / lost, objects(box)
    shutil.rmtree(place) if place.is_dir() else place.unlink()

    with pytest.raises(Misuse, match=said):
        run(box, box.plan(""), station)

    assert objects(box) == before
    assert not place.exists()
