"""``trustbox keys pin`` as it is typed, on two tokens of one box: one whose PINs the station keeps,
and one whose PINs are derived in the factory's HSM.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harness.deadline import Deadline
from harness.target import Target
from provisioning.cli import keys_options
from provisioning.pin_change import kept_pins
from provisioning.pin_sources import DerivedPins
from provisioning.pins import Pins
from provisioning.plan import Plan, example_plan, parse_plan
from provisioning.run import provision
from provisioning.station import Station
from provisioning.steps_box import ReachStep, RecordStep
from provisioning.steps_key import KeyStep, TokenStep
from provisioning.token_state import TokenFlags, TokenState
from provisioning.trustbox import TrustBox
from tests.device.run_needs import A_RUN_NEEDS
from tests.links.est_command import Done, trustbox

pytestmark = [A_RUN_NEEDS, pytest.mark.timeout(400)]

SPENT = TokenFlags.USER_PIN_COUNT_LOW | TokenFlags.SO_PIN_COUNT_LOW


@dataclass(frozen=True)
class Typed:
    """A box, one of its tokens, and the station that provisioned it."""

    box: TrustBox
    station: Station
    label: str
    plan: Path

    def keys(self, *words: str) -> Done:
        of = ("--token", self.label, "--state", str(self.station.state), "--json")
        return trustbox("keys", *words, *of)

    def done(self, *words: str) -> dict[str, Any]:
        ended = self.keys(*words)
        assert ended.returncode == 0, ended.stderr.decode()
        told: dict[str, Any] = json.loads(ended.stdout)
        return told

    def opens(self, *words: str) -> bool:
        """Whether the token's keys are shown, which takes its user PIN."""
        return bool(self.done("list", *words)["logged_in"] == self.label)

    @property
    def token(self) -> TokenState:
        found = self.box.keys.state(self.label, by=Deadline.after(60))
        assert found is not None
        return found

    @property
    def untouched(self) -> bool:
        """No wrong PIN was given, by the token's word and by the station's count."""
        budget = self.station.pin_budget
        token = self.token
        failures = budget.failures(token, "user") + budget.failures(token, "so")
        return failures == 0 and not token.flags & SPENT

    @property
    def kept(self) -> Path:
        uuid = self.token.tee_uuid
        assert uuid is not None
        return self.station.pins(self.box.target.serial, uuid)


@pytest.fixture(scope="module")
def stations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stations")


@pytest.fixture(autouse=True)
def the_box_is_open(module_box: TrustBox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands open no box of their own but have that of the test."""

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[Target]:
        yield module_box.target

    monkeypatch.setattr(keys_options, "opened", opened)


@pytest.fixture
def kept(module_box: TrustBox, stations: Path) -> Typed:
    """A token with PINs that the station keeps."""
    return provisioned(module_box, stations / "keeps", "kept-here", '"generate"')


@pytest.fixture
def derived(module_box: TrustBox, stations: Path) -> Typed:
    """A token whose PINs are nowhere but derived from a secret in the station's HSM."""
    source = '"derived"\nhsm = "softhsm:line"'
    return provisioned(module_box, stations / "derives", "derived", source)


def provisioned(box: TrustBox, place: Path, label: str, source: str) -> Typed:
    """As an earlier test left it, or made."""
    station, plan = Station(place), place.with_suffix(".toml")
    text = example_plan().replace('label = "trustbox"', f'label = "{label}"', 1)
    text = text.replace('\nsource = "generate"', f"\nsource = {source}", 1)
    plan.write_text(text)
    typed = Typed(box, station, label, plan)
    if box.keys.state(label, by=Deadline.after(60)) is None:
        if "hsm" in source:
            DerivedPins("softhsm:line", station.state).make(by=Deadline.after(60))
        box.keys.close()
        run(box, parse_plan(text.encode(), where="plan", beside=place), station)
    return typed


def run(box: TrustBox, plan: Plan, station: Station) -> None:
    steps = (ReachStep(), TokenStep(), KeyStep(), RecordStep())
    provision(box.target, plan, station, steps=lambda: steps)


def test_status_tells_tries_and_source_and_tries_nothing(kept: Typed, derived: Typed) -> None:
    for typed, source in ((kept, "what this station keeps"), (derived, "a secret in the factory")):
        told = typed.done("pin", "status")

        assert told["pins_from"].startswith(source)
        assert told["own_failures"] == {"user": 0, "so": 0}
        assert (told["change_pending"], "user-pin-initialized" in told["flags"]) == (False, True)


def test_changed_pins_are_the_tokens_and_the_stations(kept: Typed) -> None:
    before = kept_pins(kept.kept)

    told = [kept.done("pin", "change", *words) for words in ([], ["--so"])]

    after = kept_pins(kept.kept)
    assert [(one["changed"], one["finished"]) for one in told] == [("user", []), ("so", [])]
    assert before.user.reveal() != after.user.reveal()
    assert before.so.reveal() != after.so.reveal()
    assert kept.opens()
    kept.done("pin", "unblock")  # takes the SO PIN


def test_cut_change_keeps_other_commands_from_trying_until_it_is_finished(kept: Typed) -> None:
    old, new = kept_pins(kept.kept), Pins.random()
    replace(old, user=new.user).save(kept.kept.with_name(kept.kept.name + ".next"))
    by = Deadline.after(60)
    kept.box.keys.change_pin(kept.label, "user", old.user, new.user, by=by)

    refused = kept.keys("list")
    pending = kept.done("pin", "status")["change_pending"]
    untouched = kept.untouched
    told = kept.done("pin", "change", "--so")

    assert refused.returncode == 2
    assert "trustbox keys pin change" in json.loads(refused.stderr)["hint"]
    assert (pending, untouched) == (True, True)
    assert (told["changed"], told["finished"]) == ("so", ["user"])
    assert kept_pins(kept.kept).user.reveal() == new.user.reveal()


def test_unblocked_token_opens_with_the_known_pin_again(kept: Typed) -> None:
    """Somebody else changed it: the try that finds out is counted until then."""
    by = Deadline.after(60)
    elsewhere = Pins.random().user
    kept.box.keys.change_pin(kept.label, "user", kept_pins(kept.kept).user, elsewhere, by=by)

    wrong = kept.keys("list")
    counted = kept.station.pin_budget.failures(kept.token, "user")
    kept.done("pin", "unblock")

    assert (wrong.returncode, counted) == (6, 1)
    assert kept.opens()
    assert kept.untouched


def test_failures_are_forgotten_by_a_person_alone(kept: Typed) -> None:
    budget, token = kept.station.pin_budget, kept.token
    with pytest.raises(KeyboardInterrupt), budget.trying(token, "so"):
        raise KeyboardInterrupt

    counted = kept.done("pin", "status")["own_failures"]["so"]
    kept.done("pin", "forget-failures", "--so")

    assert (counted, budget.failures(token, "so")) == (1, 0)


def test_derived_pins_are_found_by_the_record_or_by_a_plan_that_is_named(derived: Typed) -> None:
    record = derived.station.records(derived.box.target.serial) / "record.json"
    by_record = derived.opens()
    aside = record.rename(record.with_suffix(".aside"))
    try:
        refused = derived.keys("evidence")
        by_plan = derived.opens("--pins", str(derived.plan))
    finally:
        aside.rename(record)

    assert (by_record, by_plan) == (True, True)
    assert refused.returncode == 2
    assert "the plan" in json.loads(refused.stderr)["hint"]
    assert derived.untouched


def test_derived_pin_is_changed_into_a_files_or_not_at_all(derived: Typed, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    Pins.make(mine)

    refused = derived.keys("pin", "change")
    untouched = derived.untouched
    derived.done("pin", "change", "--new-pins", str(mine))
    with_mine = derived.opens("--pins", str(mine))
    derived.done("pin", "unblock")  # by the SO PIN: both are the derived ones again

    assert (refused.returncode, untouched, with_mine) == (2, True, True)
    assert "--new-pins" in json.loads(refused.stderr)["hint"]
