"""A box whose identity is not its own is not enrolled."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import IntegrityFailure
from harness.target import World
from provisioning.plan import Plan, example_plan, parse_plan
from provisioning.record import load, value
from provisioning.run import provision
from provisioning.station import Station
from provisioning.steps_box import ReachStep, RecordStep
from provisioning.steps_own import OwnIdentityStep
from provisioning.trustbox import TrustBox
from tests.device.run_needs import A_RUN_NEEDS

pytestmark = [
    pytest.mark.integrity,
    A_RUN_NEEDS,
]
LINE = "Continuing with non-secret testing identity"


def plan(unfused: str) -> Plan:
    wanted = f'golden = "firmware"\nunfused = "{unfused}"\n'
    text = example_plan().replace('golden = "firmware"\n', wanted)
    return parse_plan(text.encode(), where="plan.toml", beside=Path("/"))


@pytest.mark.case("N-46", expect="refused before anything is made on it; or marked")
def test_a_box_that_says_it_took_the_identity_of_all_unfused_ones_is_not_enrolled(
    box: TrustBox, tmp_path: Path, by: Deadline
) -> None:
    """The line that its boot would print is printed on its UART. Who heard no boot saw nothing."""
    target, station = box.target, Station(tmp_path / "station")
    target.shell.run("sh", "-c", f"echo '{LINE}' >/dev/console", by=by)
    target.consoles[World.NORMAL].expect(re.compile(LINE.encode()), by=by)

    with pytest.raises(IntegrityFailure, match="is not enrolled, as its identity is not its own"):
        provision(target, plan("refuse"), station)

    assert [slot.label for slot in box.keys.tokens(by=by) if slot.label] == []
    assert not (station.state / "ca").exists()

    look = (ReachStep(), OwnIdentityStep(), RecordStep())
    marked = provision(target, plan("mark"), station, steps=lambda: look)
    assert value(load(marked.directory / "record.json"), "own_identity", "is_test") is True
