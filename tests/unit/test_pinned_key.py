"""``trustbox attest --pin``: the key to expect comes from whatever was kept of the enrolment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import BadInput
from provisioning.pinned import read_pin
from tests.unit import attested

EVIDENCE = attested.evidence().to_dict()


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param(EVIDENCE, id="evidence"),
        pytest.param({"evidence": EVIDENCE, "verdict": {}}, id="what attest --json printed"),
        pytest.param(
            {"attestation": {"evidence": {"how": "observed", "value": EVIDENCE}}}, id="a record"
        ),
    ],
)
def test_the_pinned_key_is_found(tmp_path: Path, kept: object) -> None:
    file = tmp_path / "kept.json"
    file.write_text(json.dumps(kept))

    assert read_pin(file).key == attested.public_key()
    assert read_pin(file).tee_uuid == attested.TEE_UUID


def test_the_tokens_that_must_be_there_still_are_those_of_the_look_or_of_the_record(
    tmp_path: Path,
) -> None:
    file = tmp_path / "kept.json"
    seen = {"evidence": EVIDENCE, "observed": attested.observed().to_dict()}
    file.write_text(json.dumps(seen))
    assert read_pin(file).tokens == ("0 trustbox",)

    token = {"slot": {"how": "asserted", "value": 0}, "label": {"how": "asserted", "value": "t b"}}
    record = {"attestation": {"evidence": {"how": "observed", "value": EVIDENCE}}, "token": token}
    file.write_text(json.dumps(record))
    assert read_pin(file).tokens == ("0 t b",)


@pytest.mark.parametrize(
    "kept",
    [
        pytest.param("", id="empty"),
        pytest.param("[" * 50_000, id="deep"),
        pytest.param("{}", id="no evidence"),
        pytest.param('{"evidence": null}', id="null"),
        pytest.param('{"evidence": []}', id="a list"),
        pytest.param(" " * (2 << 20), id="long"),
    ],
)
def test_a_file_without_evidence_is_refused(tmp_path: Path, kept: str) -> None:
    file = tmp_path / "kept.json"
    file.write_text(kept)

    with pytest.raises(BadInput):
        read_pin(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        read_pin(tmp_path / "none.json")
