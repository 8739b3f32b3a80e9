"""A box that was certified and has lost its key, or meets another plan or another station.

SoftHSM2 stands in the TEE's token's place, at the far end of SSH: see host_box.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import (
    IntegrityFailure,
    Misuse,
)
from provisioning.report import as_data, as_text
from provisioning.station import Station
from tests.links.certified_box import certificates, objects, run, wipe
from tests.links.est_issuing import Issuing, plan_for
from tests.links.est_pki import Pki
from tests.links.est_script import ScriptedServer
from tests.links.host_box import SERIAL, HostBox, host_box
from tests.links.sshd import LocalSshd

pytestmark = pytest.mark.slow
OWN = '[enrollment.est]\nserver = "station"\n'


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


@pytest.mark.fault(
    "Token",
    "the token of a box that was certified is blank: wiped, another disk, storage in RAM",
    comes="IntegrityFailure, status 7, before anything is made; the record is as it was",
    then="bring its disk back; or trustbox provision --replace CERTIFICATE-NUMBER",
    case="F-21",
)
@pytest.mark.parametrize("told_by", ["the CA's index", "the record"])
def test_a_certified_box_whose_token_is_blank_gets_nothing_in_silence(
    box: HostBox, station: Station, told_by: str
) -> None:
    [mine] = certificates(station)
    if told_by == "the CA's index":
        (station.records(SERIAL) / "record.json").unlink()
    wipe(box)

    with pytest.raises(IntegrityFailure, match=r"is blank, although .* was certified") as refused:
        run(box, box.plan(""), station)

    assert f"the same command with --replace {mine.number:x}" in refused.value.hint
    assert objects(box) == []
    assert [entry.number for entry in certificates(station)] == [mine.number]


def test_a_lost_record_of_a_certified_box_is_made_anew_and_the_run_says_so(
    box: HostBox, station: Station
) -> None:
    known = as_text(run(box, box.plan(""), station))
    (station.records(SERIAL) / "record.json").unlink()
    anew = as_text(run(box, box.plan(""), station))

    assert "there is no record" not in known
    assert f"there is no record in {station.records(SERIAL)}: it and its pins are made anew" in anew


def test_a_record_of_another_ca_refuses_a_blank_token_too(
    blank: HostBox, station: Station, tmp_path: Path
) -> None:
    (tmp_path / "pki").mkdir()
    pki = Pki.make(tmp_path / "pki")
    with ScriptedServer(pki, Issuing(pki, None)) as server:
        plan = plan_for(blank, server, pki)
        run(blank, plan, station)
        wipe(blank)
        with pytest.raises(IntegrityFailure, match=r"certificate [0-9a-f]+, by the record"):
            run(blank, plan, station)

    assert objects(blank) == []


@pytest.mark.parametrize("enrollment", ["", OWN], ids=["the CA itself", "its EST server"])
def test_the_word_that_names_the_certificate_lets_the_box_have_another_key(
    box: HostBox, station: Station, enrollment: str
) -> None:
    [old] = certificates(station)
    wipe(box)

    run(box, box.plan(enrollment), station, replaces=old.number)
    again = run(box, box.plan(enrollment), station, replaces=old.number)

    new, before = certificates(station)
    assert (new.status, before.status, before.number) == ("active", "superseded", old.number)
    assert new.spki != before.spki
    assert again.work.chain is not None
    assert again.work.chain[0].serial_number == new.number


@pytest.mark.fault(
    "Token",
    "the token of a box that was certified holds another key",
    comes="IntegrityFailure, status 7, before a certificate is asked for; the record is as it was",
    then="look whose token it is: trustbox keys list; or trustbox provision --replace"
    " CERTIFICATE-NUMBER",
)
def test_a_certified_box_whose_token_holds_another_key_gets_no_second_certificate(
    box: HostBox, station: Station, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    (box.place / "tokens").rename(kept)
    (box.place / "tokens").mkdir()
    elsewhere = Station(tmp_path / "elsewhere")
    (box.chain).unlink()
    run(box, box.plan(""), elsewhere)  # the same label, PINs and CKA_ID, and not the same key
    record = (station.records(SERIAL) / "record.json").read_bytes()

    with pytest.raises(IntegrityFailure, match=r"holds another key .* was certified"):
        run(box, box.plan(""), station)

    assert len(certificates(station)) == 1
    assert (station.records(SERIAL) / "record.json").read_bytes() == record


@pytest.mark.fault(
    "Run",
    "a typing error in the plan's token label or key purpose, on a box that was certified",
    comes="Misuse, status 2, with the name before and now; no second token, key or certificate",
    then="correct the plan; or, if it is meant, trustbox provision --replace CERTIFICATE-NUMBER",
)
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('label = "trustbox"', 'label = "trustbx"', r"plan's token is 'trustbx'.*'trustbox'"),
        ('purpose = "device-id"', 'purpose = "devce-id"', r"'devce-id'.*its key 'device-id'"),
    ],
    ids=["label", "purpose"],
)
def test_a_typing_error_in_the_plan_makes_no_second_token_key_or_certificate(
    box: HostBox, station: Station, old: str, new: str, said: str
) -> None:
    before = objects(box)
    plan = box.plan("")
    wrong = replace(
        plan,
        token_label="trustbx" if "label" in old else plan.token_label,
        key_purpose="devce-id" if "purpose" in old else plan.key_purpose,
    )

    with pytest.raises(Misuse, match=said) as refused:
        run(box, wrong, station)

    assert old.split('"')[1] in refused.value.hint
    assert objects(box) == before
    assert len(certificates(station)) == 1


def test_nothing_is_replaced_where_nothing_was_lost_or_the_number_is_anothers(
    box: HostBox, station: Station
) -> None:
    [mine] = certificates(station)

    with pytest.raises(Misuse, match="nothing is to be replaced"):
        run(box, box.plan(""), station, replaces=mine.number)
    with pytest.raises(Misuse, match=f"is no certificate of {SERIAL}"):
        run(box, box.plan(""), station, replaces=mine.number + 1)

    assert len(certificates(station)) == 1


@pytest.mark.parametrize("days", [30, None])
def test_a_plan_that_wants_another_validity_is_told_and_changes_nothing_unasked(
    box: HostBox, station: Station, days: int | None
) -> None:
    done = run(box, replace(box.plan(""), validity_days=days), station)

    assert len(certificates(station)) == 1
    assert len(done.work.differs) == 1
    assert f"validity_days is {days or 'unlimited'}, and the certificate" in done.work.differs[0]
    assert "has 3650 days" in done.work.differs[0]
    root = station.records(SERIAL) / "root.pem"
    assert f"install device-id new.pem --root {root} --serial {SERIAL}" in done.work.differs[0]
    assert "It differs from the plan" in as_text(done)
    assert as_data(done)["differs"] == done.work.differs


def test_a_plan_that_says_what_is_so_differs_in_nothing(box: HostBox, station: Station) -> None:
    done = run(box, box.plan(""), station)

    assert done.work.differs == []
    assert "all of it was so already" in as_text(done)
