"""A run whose PINs nobody knows for certain spends no try of the token's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from harness.deadline import Deadline
from harness.errors import Misuse
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
