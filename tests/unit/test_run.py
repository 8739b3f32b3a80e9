"""A run: probe, intent, act, confirm; and whatever stops it leaves a journal and no lock."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Never

import pytest

from harness.deadline import Deadline
from harness.errors import BoxDied, Misuse, TrustBoxError
from harness.target import Console, Target, World
from provisioning.plan import example_plan, parse_plan
from provisioning.run import Outcome, Provisioned, StepReport, Watcher, provision
from provisioning.station import Station, alone_with
from provisioning.steps import EffectStep, LookStep
from provisioning.work import Work


class NoBox:
    """In the place of shell and rig: these runs must not touch either."""

    def __getattr__(self, name: str) -> Never:
        raise AssertionError(f"the run used {name}")


@dataclass
class Effect:
    """A step whose effect is in ``world``, as a real one's is on the box."""

    world: dict[str, int]
    name: str = "effect"
    doing: str = "making it so"
    seconds: float = 5.0
    dies: str = ""

    def probe(self, work: Work, by: Deadline) -> str | None:
        return "it is so" if self.world.get(self.name) else None

    def act(self, work: Work, by: Deadline) -> None:
        if self.dies == "before":
            raise BoxDied("box", "Kernel panic")
        self.world[self.name] = self.world.get(self.name, 0) + 1
        if self.dies == "after":
            raise BoxDied("box", "Kernel panic")

    def confirm(self, work: Work, by: Deadline) -> str:
        return "it is so now"


class Look:
    name, doing, seconds = "look", "looking", 5.0

    def look(self, work: Work, by: Deadline) -> str:
        return "looks good"


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def run(
    station: Station, *steps: EffectStep | LookStep, watcher: Watcher | None = None
) -> Provisioned:
    consoles: Mapping[World, Console] = {}
    target = Target(
        name="box",
        serial="TB-1",
        capabilities=frozenset(),
        shell=NoBox(),
        streams=None,
        consoles=consoles,
        rig=NoBox(),
    )
    plan = parse_plan(example_plan().encode(), where="first.toml", beside=Path())
    return provision(target, plan, station, steps=lambda: steps, watcher=watcher)


def journal(station: Station) -> list[tuple[str, str]]:
    text = (station.records("TB-1") / "journal.jsonl").read_text()
    return [(e["step"], e["phase"]) for e in map(json.loads, text.splitlines())]


def test_effect_that_is_not_there_is_made(station: Station) -> None:
    world: dict[str, int] = {}

    done = run(station, Effect(world))

    assert (world["effect"], done.reports[0].outcome) == (1, Outcome.DONE)


def test_effect_that_is_there_is_not_made_again(station: Station) -> None:
    world: dict[str, int] = {}
    run(station, Effect(world))

    again = run(station, Effect(world))

    assert (world["effect"], again.reports[0].outcome) == (1, Outcome.ALREADY)


def test_intent_is_journalled_before_and_done_after(station: Station) -> None:
    run(station, Effect({}), Look())

    assert journal(station) == [("effect", "intent"), ("effect", "done"), ("look", "checked")]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_box_that_dies_in_a_step_is_completed_by_a_second_run(
    station: Station, moment: str
) -> None:
    world: dict[str, int] = {}
    with pytest.raises(BoxDied):
        run(station, Effect(world, dies=moment), Look())

    again = run(station, Effect(world), Look())

    assert world["effect"] == 1
    assert len(again.reports) == 2


def test_failed_step_is_journalled_with_its_reason(station: Station) -> None:
    with pytest.raises(BoxDied):
        run(station, Effect({}, dies="before"))

    assert journal(station) == [("effect", "intent"), ("effect", "failed")]


def test_ctrl_c_is_told_in_words_on_screen_and_in_the_journal(station: Station) -> None:
    class Stopped(Look):
        def look(self, work: Work, by: Deadline) -> str:
            raise KeyboardInterrupt

    class Screen(Watcher):
        said = ""

        def ended(self, report: StepReport) -> None:
            self.said = report.said

    screen = Screen()
    with pytest.raises(KeyboardInterrupt):
        run(station, Stopped(), watcher=screen)

    assert screen.said == "stopped by Ctrl-C; running it again goes on from here"
    assert screen.said in (station.records("TB-1") / "journal.jsonl").read_text()


def test_steps_after_a_failed_one_are_not_run(station: Station) -> None:
    world: dict[str, int] = {}
    with pytest.raises(TrustBoxError):
        run(station, Effect(world, dies="before"), Effect(world, name="later"))

    assert "later" not in world


def test_two_runs_on_one_box_at_once_are_misuse(station: Station) -> None:
    with (
        alone_with(station.records("TB-1"), "TB-1"),
        pytest.raises(Misuse, match="by another process"),
    ):
        run(station, Look())


def test_failed_run_leaves_no_lock(station: Station) -> None:
    with pytest.raises(BoxDied):
        run(station, Effect({}, dies="before"))

    assert run(station, Look()).reports[0].outcome is Outcome.CHECKED
