"""Records say of everything how it is known, and journals what was meant before it was done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import BadInput, Misuse
from harness.target import EvidenceLevel
from provisioning.journal import Journal
from provisioning.record import asserted, intended, load, observed, render, save, value

FACTS = {
    "box": {"serial": asserted("TB-1"), "target": intended("emulator")},
    "key": {"signature_verified": observed(True)},
}


def test_every_field_says_how_it_is_known() -> None:
    found = json.loads(render(FACTS, EvidenceLevel.FUNCTIONAL))

    assert found["box"]["serial"] == {"how": "asserted", "value": "TB-1"}
    assert found["box"]["target"]["how"] == "intended"
    assert found["key"]["signature_verified"] == {"how": "observed", "value": True}


def test_emulators_evidence_is_marked_functional() -> None:
    found = json.loads(render(FACTS, EvidenceLevel.FUNCTIONAL))

    assert found["evidence_level"] == "functional"
    assert "nothing about a real box" in found["evidence_level_means"]


def test_saved_record_loads(tmp_path: Path) -> None:
    save(tmp_path / "record.json", FACTS, EvidenceLevel.FUNCTIONAL)

    assert value(load(tmp_path / "record.json"), "box", "serial") == "TB-1"


def test_no_record_is_none(tmp_path: Path) -> None:
    assert load(tmp_path / "record.json") is None
    assert value(None, "box", "serial") is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": "other"}', "[" * 100_000])
def test_file_that_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)

    with pytest.raises(BadInput):
        load(tmp_path / "record.json")


def test_record_replaces_the_earlier_one_as_a_whole(tmp_path: Path) -> None:
    save(tmp_path / "record.json", FACTS, EvidenceLevel.FUNCTIONAL)
    save(tmp_path / "record.json", {"box": {}}, EvidenceLevel.FUNCTIONAL)

    assert value(load(tmp_path / "record.json"), "box", "serial") is None
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


def test_record_without_room_is_the_callers_move() -> None:
    """/dev/full is a real device that has no space left."""
    with pytest.raises(Misuse, match="No space left"):
        Journal(Path("/dev/full"), "run").add("token", "intent", "x")


def test_journal_keeps_what_earlier_runs_wrote(tmp_path: Path) -> None:
    for run in ("first", "second"):
        with Journal(tmp_path / "journal.jsonl", run) as journal:
            journal.add("token", "intent", "initialising")

    lines = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["run"] for line in lines] == ["first", "second"]


def test_journal_line_is_on_the_disk_when_add_returns(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal.jsonl", "run") as journal:
        journal.add("token", "intent", "initialising")

        assert json.loads((tmp_path / "journal.jsonl").read_text())["phase"] == "intent"
