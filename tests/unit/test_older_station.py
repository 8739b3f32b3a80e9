"""What the version before wrote is read: a record without its plan, a CA's index without status.

tests/unit/recorded/station-4cb0f08 is what that version left of an emulated box and its CA, without
tokens and PINs; the directory that the plan came from is called /station there.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from cryptography import x509

from provisioning.authority_life import knows
from provisioning.authority_open import StationCa
from provisioning.authority_state import Stage, stage
from provisioning.certificates import der
from provisioning.record import load, value
from provisioning.record_plan import has_plan, recorded
from provisioning.station import Station
from provisioning.steps_identity import told
from provisioning.unfinished import load_unfinished

SERIAL = "TB-L3-0001"
RECORDED = Path(__file__).parent / "recorded" / "station-4cb0f08"


@pytest.fixture
def station(tmp_path: Path) -> Station:
    made = Station(tmp_path / "station")
    shutil.copytree(RECORDED / "ca", made.state / "ca")
    shutil.copytree(RECORDED / "record", made.records(SERIAL))
    return made


def leaf(station: Station) -> x509.Certificate:
    return x509.load_pem_x509_certificate((station.records(SERIAL) / "device.pem").read_bytes())


def test_a_record_of_the_version_before_has_its_plan_and_nothing_unfinished(
    station: Station,
) -> None:
    directory, plan = recorded(station, SERIAL)

    assert has_plan(directory)
    assert (plan.token_label, plan.accept_unknown) == ("trustbox", False)
    assert load_unfinished(directory, load(directory / "record.json")) is None


def test_an_older_records_words_are_what_its_certificate_says(station: Station) -> None:
    record = load(station.records(SERIAL) / "record.json")

    assert {name: value(record, "certificate", name) for name in told(leaf(station))} == told(
        leaf(station)
    )
    digest = hashlib.sha256(der(leaf(station))).hexdigest()
    assert value(record, "certificate", "sha256") == digest


def test_an_older_index_is_whole_and_its_box_has_one_certificate_that_counts(
    station: Station,
) -> None:
    files = StationCa(station.state).files

    assert stage(files) is Stage.SET_UP
    [mine] = files.index.of_device(SERIAL)
    assert (mine.good, mine.number) == (True, leaf(station).serial_number)
    assert knows(files.index, leaf(station))
    record = load(station.records(SERIAL) / "record.json")
    assert value(record, "key", "spki_sha256") == mine.spki
