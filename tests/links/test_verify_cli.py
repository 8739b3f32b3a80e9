"""``trustbox verify`` before any box is opened: is there a record, and the plan that it is of?"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from harness.target import EvidenceLevel
from provisioning.plan import example_plan
from provisioning.record import intended, save
from provisioning.station import Station
from tests.links.est_command import trustbox

SERIAL = "TB-0042"


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """A record as far as this looks at it, with its plan beside it."""
    made, text = Station(tmp_path).records(SERIAL), example_plan().encode()
    made.mkdir(parents=True)
    (made / "plan.toml").write_bytes(text)
    facts = {"tool": {"plan_sha256": intended(hashlib.sha256(text).hexdigest())}}
    save(made / "record.json", facts, EvidenceLevel.FUNCTIONAL)
    return made


def test_box_without_a_record_is_wrong_use_and_says_what_makes_one(tmp_path: Path) -> None:
    done = trustbox("verify", SERIAL, "--state", str(tmp_path), "--json")

    told = json.loads(done.stderr)
    assert (done.returncode, done.stdout) == (2, b"")
    assert told["message"].startswith(f"there is no record of {SERIAL}")
    assert "trustbox provision" in told["hint"]


@pytest.mark.fault(
    "Record",
    "trustbox verify with a mistyped --state",
    comes="Misuse, status 2: there is no record; no box is started and no directory made",
    then="give the right --state",
)
def test_mistyped_state_is_wrong_use_and_makes_no_directory(tmp_path: Path) -> None:
    done = trustbox("verify", SERIAL, "--state", str(tmp_path / "mistyped"))

    assert done.returncode == 2
    assert b"--state" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_plan_that_was_changed_after_the_record_is_an_integrity_failure(
    tmp_path: Path, records: Path
) -> None:
    (records / "plan.toml").write_text(example_plan().replace("3650", "1"))

    done = trustbox("verify", SERIAL, "--state", str(tmp_path))

    assert done.returncode == 7
    assert b"not the plan that the record is of" in done.stderr


def test_plan_that_is_gone_is_named(tmp_path: Path, records: Path) -> None:
    (records / "plan.toml").unlink()

    done = trustbox("verify", SERIAL, "--state", str(tmp_path))

    assert done.returncode == 2
    assert str(records / "plan.toml").encode() in done.stderr.replace(b"\n", b"")
