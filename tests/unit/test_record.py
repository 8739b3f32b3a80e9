"""Records say of everything how it is known, and journals what was meant before it was done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.target import EvidenceLevel
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
