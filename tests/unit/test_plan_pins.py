"""Where a box's PINs come from: the plan of its record, before what the station once kept."""

from __future__ import annotations

import hashlib
from pathlib import Path
from uuid import UUID

import pytest

from harness.deadline import Deadline
from harness.errors import IntegrityFailure, Misuse
from harness.target import EvidenceLevel
from provisioning.pin_sources import DerivedPins, PinCommand, PinSource
from provisioning.pins import Pins
from provisioning.plan import example_plan, is_plan
from provisioning.plan_pins import KeptPins, PinFile, recorded_source
from provisioning.record import intended, save
from provisioning.station import Station

SERIAL, LABEL, TEE = "TB-0042", "trustbox", UUID("cce197f2-0846-5c81-afad-cd3a123dfb08")
SECRETS = {
    "derived": '"derived"\nhsm = "softhsm:line"',
    "command": '"command"\ncommand = ["/bin/pins", "{serial}"]',
    "file": '"/of/mine.toml"',
    "generate": '"generate"',
}


@pytest.fixture
def station(tmp_path: Path) -> Station:
    """With PINs that it made for the box once."""
    made = Station(tmp_path / "station")
    Pins.make(made.pins(SERIAL, TEE))
    return made


def recorded_with(station: Station, source: str) -> None:
    """The record of a run whose plan had this source, as far as it is looked at."""
    directory = station.records(SERIAL)
    directory.mkdir(parents=True)
    text = example_plan().replace('\nsource = "generate"', f"\nsource = {SECRETS[source]}", 1)
    (directory / "plan.toml").write_text(text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    facts = {"tool": {"plan_sha256": intended(digest)}}
    save(directory / "record.json", facts, EvidenceLevel.FUNCTIONAL)


def found(station: Station, label: str = LABEL) -> PinSource | None:
    return recorded_source(station, SERIAL, label, TEE)


@pytest.mark.parametrize("source", SECRETS)
def test_source_of_the_records_plan_is_found_without_being_named(
    station: Station, source: str
) -> None:
    recorded_with(station, source)

    meant: dict[str, PinSource] = {
        "derived": DerivedPins("softhsm:line", station.state),
        "command": PinCommand(("/bin/pins", "{serial}")),
        "file": PinFile(Path("/of/mine.toml")),
        "generate": KeptPins(station.pins(SERIAL, TEE)),
    }
    assert found(station) == meant[source]


def test_without_a_record_or_for_another_token_it_is_what_the_station_keeps(
    station: Station,
) -> None:
    kept = KeptPins(station.pins(SERIAL, TEE))
    before = found(station)
    recorded_with(station, "derived")

    another = found(station, label="another")
    (station.records(SERIAL) / "plan.toml").unlink()
    assert before == another == found(station) == kept


def test_station_that_knows_nothing_says_so(tmp_path: Path) -> None:
    assert found(Station(tmp_path)) is None


def test_plan_that_was_changed_after_the_run_names_no_source(station: Station) -> None:
    """It may name a program, which would be run."""
    recorded_with(station, "command")
    plan = station.records(SERIAL) / "plan.toml"
    plan.write_text(plan.read_text().replace("/bin/pins", "/tmp/pins"))

    with pytest.raises(IntegrityFailure, match="not the plan that the record is of"):
        found(station)


def test_plan_is_told_from_a_file_with_pins(station: Station, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(example_plan())

    assert is_plan(plan)
    assert not is_plan(station.pins(SERIAL, TEE))
    assert not is_plan(tmp_path / "nowhere")


def test_program_that_wants_what_the_token_does_not_tell_is_not_run() -> None:
    with pytest.raises(Misuse, match="does not tell"):
        PinCommand(("/bin/false", "{tee_uuid}")).pins(SERIAL, None, by=Deadline.after(5))
