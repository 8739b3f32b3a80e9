"""A run whose PINs nobody knows for certain spends no try of the token's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from harness.deadline import Deadline
from harness.errors import BadInput, Misuse
from provisioning.pins import Pins
from provisioning.plan import Plan, example_plan, parse_plan
from provisioning.run import Outcome, Provisioned, provision
from provisioning.station import Station
from provisioning.steps_key import TokenStep
from tests.links.host_box import SERIAL, HostBox, Who, host_box
from tests.links.sshd import LocalSshd


def run(box: HostBox, wanted: Plan, station: Station) -> Provisioned:
    return provision(box.target, wanted, station, steps=lambda: (Who(), TokenStep()))


def test_pending_pin_change_stops_a_run_before_any_login(sshd: LocalSshd, tmp_path: Path) -> None:
    """The station kept the old PIN, the token has the new one: a login would be a wrong PIN."""
    (tmp_path / "box").mkdir()
    station = Station(tmp_path / "station")
    wanted = parse_plan(example_plan().encode(), where="plan", beside=tmp_path)
    with host_box(sshd, tmp_path / "box") as box:
        keys, by = run(box, wanted, station).work.box.keys, Deadline.after(60)
        file = station.pins(SERIAL, UUID(int=1))
        [token] = [one for one in keys.tokens(by=by) if one.initialised]
        old, new = Pins.read(file), Pins.random()
        keys.change_pin(token.label, "user", old.user, new.user, by=by)
        keys.close()
        waiting = file.with_name(file.name + ".next")
        replace(old, user=new.user).save(waiting)

        with pytest.raises(Misuse, match="was cut short") as refused:
            run(box, wanted, station)

        assert station.pin_budget.failures(token, "user") == 0
        assert "trustbox keys pin change" in refused.value.diagnostics()
        waiting.replace(file)
        assert run(box, wanted, station).reports[-1].outcome is Outcome.ALREADY


@pytest.mark.fault(
    "Secrets",
    "the plan names the PIN file that a station keeps for another box",
    comes="BadInput, status 2, with the file's name; no try of the token's is used",
    then="name this box's file in [secrets]",
)
def test_pin_file_that_is_named_for_another_box_is_never_tried(
    sshd: LocalSshd, tmp_path: Path
) -> None:
    (tmp_path / "box").mkdir()
    station = Station(tmp_path / "station")
    with host_box(sshd, tmp_path / "box") as box:
        mine = box.plan("")
        keys = run(box, mine, station).work.box.keys
        others = box.pins.with_name(f"TB-OTHER-1-{UUID(int=2)}.toml")
        Pins.random().save(others)
        own = box.pins.with_name(f"{SERIAL}-{UUID(int=1)}.toml")
        own.touch(mode=0o600)
        own.write_bytes(box.pins.read_bytes())

        with pytest.raises(BadInput, match="named for another box"):
            run(box, replace(mine, pins=others), station)
        [token] = [one for one in keys.tokens(by=Deadline.after(60)) if one.initialised]
        by_name = run(box, replace(mine, pins=own), station)

    assert station.pin_budget.failures(token, "user") == 0
    assert by_name.reports[-1].outcome is Outcome.ALREADY
