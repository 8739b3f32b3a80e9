"""What cannot be undone needs the box's serial number twice, and nothing is done without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.bench_serial import confirm, permitted, wanted
from harness.deadline import Deadline
from harness.errors import IntegrityFailure, Misuse
from harness.target import Console, Target, World
from provisioning.plan import example_plan, parse_plan
from provisioning.run import provision
from provisioning.station import Station
from provisioning.work import Work
from tests.unit.test_run import NoBox


@dataclass
class Fuse:
    """A step that could not be undone."""

    blown: bool = False
    name: str = "fuse"
    doing: str = "blowing a fuse"
    seconds: float = 5.0
    lasting: bool = True

    def probe(self, work: Work, by: Deadline) -> str | None:
        return "it is blown" if self.blown else None

    def act(self, work: Work, by: Deadline) -> None:
        self.blown = True

    def confirm(self, work: Work, by: Deadline) -> str:
        return "it is blown now"


def run(tmp_path: Path, step: Fuse, *, lasting: bool) -> None:
    consoles: Mapping[World, Console] = {}
    target = Target(
        name="bench-07",
        serial="TB-0042",
        capabilities=frozenset(),
        shell=NoBox(),
        streams=None,
        consoles=consoles,
        rig=NoBox(),
        lasting=lasting,
    )
    plan = parse_plan(example_plan().encode(), where="first.toml", beside=Path())
    provision(target, plan, Station(tmp_path), steps=lambda: (step,))


def test_a_lasting_step_without_permission_is_not_done(tmp_path: Path) -> None:
    fuse = Fuse()
    with pytest.raises(Misuse, match=r"fuse cannot be undone, .* TB-0042") as caught:
        run(tmp_path, fuse, lasting=False)

    assert not fuse.blown
    assert "--lasting TB-0042" in caught.value.diagnostics()


def test_a_lasting_step_with_permission_is_done(tmp_path: Path) -> None:
    fuse = Fuse()
    run(tmp_path, fuse, lasting=True)

    assert fuse.blown


def test_a_lasting_step_that_was_done_needs_no_permission(tmp_path: Path) -> None:
    run(tmp_path, Fuse(blown=True), lasting=False)


def test_a_permission_for_another_box_permits_nothing() -> None:
    permitted("bench-07", "TB-0042", None)
    permitted("bench-07", "TB-0042", "TB-0042")
    with pytest.raises(Misuse, match="TB-0043 permits nothing on bench-07, which is TB-0042"):
        permitted("bench-07", "TB-0042", "TB-0043")


def test_a_bench_without_a_serial_number_is_refused_with_what_the_entry_says() -> None:
    with pytest.raises(Misuse, match="--serial") as caught:
        wanted("bench-07", None, "TB-0042")

    assert "The entry says TB-0042" in caught.value.diagnostics()


def test_each_place_that_tells_must_tell_the_right_serial_number() -> None:
    confirm("b", "TB-0042", {"/one": "TB-0042", "/two": "TB-0042"}, ["/one", "/two"])
    with pytest.raises(IntegrityFailure, match=r"TB-0043 \(/two\), not TB-0042"):
        confirm("b", "TB-0042", {"/one": "TB-0042", "/two": "TB-0043"}, ["/one", "/two"])
    with pytest.raises(IntegrityFailure, match="reports no serial number"):
        confirm("b", "TB-0042", {}, ["/one"])
