"""What a run that was cut leaves beside the record, and what the next one makes of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from harness.errors import BadInput, IntegrityFailure, Misuse
from harness.target import EvidenceLevel
from provisioning.plan import example_plan, parse_plan
from provisioning.record import intended, load, observed, save
from provisioning.record_plan import recorded
from provisioning.station import Station
from provisioning.unfinished import (
    FILE,
    Changes,
    forget_unfinished,
    load_unfinished,
    record_is_behind,
)

SERIAL = "TB-0042"
PLAN = parse_plan(example_plan().encode(), where="plan.toml", beside=Path("/"))
OLD = {"certificate": {"serial": observed("1a")}, "key": {"cka_id": observed("07")}}
NEW = {"certificate": {"serial": observed("2b")}, "attestation": {"evidence": observed("bad")}}


def changes(directory: Path, run: str = "cut") -> Changes:
    left = load_unfinished(directory, load(directory / "record.json"))
    return Changes(directory, left, run=run, plan=PLAN)


def test_a_run_that_began_nothing_leaves_nothing(tmp_path: Path) -> None:
    made = changes(tmp_path)
    made.found("install", NEW)
    made.stopped("reach: nobody answers", 4)

    assert load_unfinished(tmp_path, None) is None


def test_what_a_step_was_about_to_do_is_on_the_disk_before_it_acts(tmp_path: Path) -> None:
    changes(tmp_path).begins("install", NEW)

    left = load_unfinished(tmp_path, None)
    assert left is not None
    assert (left.begun, left.done, left.exit_status) == (("install",), (), 0)
    assert left.is_amid(("install",))
    assert "in the middle of install" in left.told


def test_what_was_read_back_is_over_the_record_and_nothing_else_is(tmp_path: Path) -> None:
    """Evidence that the run noted is not taken over: its steps changed certificates only."""
    save(tmp_path / "record.json", OLD, EvidenceLevel.FUNCTIONAL)
    made = changes(tmp_path)
    made.begins("install", {})
    made.did("install", NEW)
    made.stopped("register: LinkLost: gone", 4)

    left = load_unfinished(tmp_path, load(tmp_path / "record.json"))
    assert left is not None
    assert (left.begun, left.done, left.exit_status) == ((), ("install",), 4)
    assert left.over(load(tmp_path / "record.json")) == {
        **(load(tmp_path / "record.json") or {}),
        "certificate": {"serial": {"how": "observed", "value": "2b"}},
    }


def test_the_next_run_takes_over_what_the_one_before_did(tmp_path: Path) -> None:
    first = changes(tmp_path, "first")
    first.begins("install", NEW)
    changes(tmp_path, "second").begins("register", {"enrollment": {"hub": observed("h")}})
    third = changes(tmp_path, "third")
    third.found("install", NEW)

    left = load_unfinished(tmp_path, None)
    assert left is not None
    assert (left.run, left.begun, left.done) == ("third", ("register",), ("install",))
    assert left.facts is not None
    assert left.facts.keys() == {"certificate", "enrollment"}


def test_a_record_of_that_very_run_leaves_nothing_unfinished(tmp_path: Path) -> None:
    """The run was cut between the record and the removal of this file."""
    changes(tmp_path, "run-7").begins("install", NEW)
    save(tmp_path / "record.json", {"tool": {"run": observed("run-7")}}, EvidenceLevel.FUNCTIONAL)

    assert load_unfinished(tmp_path, load(tmp_path / "record.json")) is None


def test_forgetting_it_twice_is_no_trouble(tmp_path: Path) -> None:
    changes(tmp_path).begins("install", NEW)

    forget_unfinished(tmp_path)
    forget_unfinished(tmp_path)

    assert load_unfinished(tmp_path, None) is None


@pytest.mark.parametrize("text", ["", "[]", '{"format": "trustbox-unfinished-1"}'])
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)

    with pytest.raises(BadInput, match=FILE):
        load_unfinished(tmp_path, None)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A record that holds its plan, and the plan beside it."""
    made = Station(tmp_path).records(SERIAL)
    made.mkdir(parents=True)
    (made / "plan.toml").write_bytes(PLAN.text)
    of_tool = {
        "plan": intended(PLAN.text.decode()),
        "plan_sha256": intended(digest(PLAN.text)),
        "plan_sha256_before": intended(digest(b"the plan of the run before")),
    }
    save(made / "record.json", {"tool": of_tool}, EvidenceLevel.FUNCTIONAL)
    return made


def test_what_changes_a_box_beside_a_run_says_that_the_record_is_behind(there: Path) -> None:
    record_is_behind(there, "keys rotate device-id", "key", "install")
    record_is_behind(there, "keys install device-id", "install")

    left = load_unfinished(there, load(there / "record.json"))
    assert left is not None
    assert (left.begun, left.plan) == (("key", "install"), PLAN.text.decode())
    assert "last: keys install device-id" in left.told


def test_nothing_is_behind_where_there_is_no_record(tmp_path: Path) -> None:
    record_is_behind(tmp_path, "keys rotate device-id", "key")

    assert not (tmp_path / FILE).exists()


def digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("beside", [b"the plan of the run before", None])
def test_a_run_cut_between_record_and_plan_leaves_both_readable(
    tmp_path: Path, there: Path, beside: bytes | None
) -> None:
    (there / "plan.toml").unlink()
    if beside is not None:
        (there / "plan.toml").write_bytes(beside)

    assert recorded(Station(tmp_path), SERIAL)[1].text == PLAN.text


def test_a_plan_that_somebody_changed_is_still_an_integrity_failure(
    tmp_path: Path, there: Path
) -> None:
    (there / "plan.toml").write_bytes(PLAN.text.replace(b"3650", b"1"))

    with pytest.raises(IntegrityFailure, match="not the plan that the record is of"):
        recorded(Station(tmp_path), SERIAL)


def test_a_plan_that_somebody_changed_in_the_record_is_an_integrity_failure(
    tmp_path: Path, there: Path
) -> None:
    text = (there / "record.json").read_text()
    (there / "record.json").write_text(text.replace("= 3650", "= 1"))

    with pytest.raises(IntegrityFailure, match="not the plan that the record is of"):
        recorded(Station(tmp_path), SERIAL)


def test_a_first_run_that_was_cut_is_told_where_there_is_no_record(tmp_path: Path) -> None:
    made = Station(tmp_path).records(SERIAL)
    made.mkdir(parents=True)
    changes(made).begins("key", {})

    with pytest.raises(Misuse, match="in the middle of key") as told:
        recorded(Station(tmp_path), SERIAL)

    assert "provision again" in told.value.hint


@pytest.mark.fault(
    "Record",
    "record.json is a directory, or cannot be read",
    comes="Misuse, status 2; nothing is done to the box",
    then="move it away, or give it back its mode",
)
def test_a_record_that_is_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "record.json").mkdir()

    with pytest.raises(Misuse, match=r"record\.json cannot be read: Is a directory"):
        load(tmp_path / "record.json")


def test_the_file_is_json_that_people_can_read(tmp_path: Path) -> None:
    changes(tmp_path).begins("install", NEW)

    assert json.loads((tmp_path / FILE).read_text())["plan"] == PLAN.text.decode()
