"""A run that Ctrl-C ends in a step about the TEE: the next one goes on, and needs no help."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from provisioning.plan import example_plan, parse_plan
from provisioning.run import Outcome, provision
from provisioning.station import Station
from provisioning.steps_box import ReachStep, RecordStep
from provisioning.steps_own import EarlierStep, OwnIdentityStep
from provisioning.steps_tee import AttestStep, EnclaveStep
from provisioning.trustbox import TrustBox
from tests.cut_steps import Step, cut_after
from tests.device.run_needs import A_RUN_NEEDS
from tests.fault_rows import cut_at

pytestmark = [A_RUN_NEEDS, pytest.mark.timeout(400)]
PLAN = parse_plan(example_plan().encode(), where="plan.toml", beside=Path("/"))


def steps() -> tuple[Step, ...]:
    looking = (ReachStep(), OwnIdentityStep(), EarlierStep())
    return (*looking, EnclaveStep(), AttestStep(), RecordStep())


def ctrl_c() -> None:
    raise KeyboardInterrupt


@cut_at("reach")
@cut_at("own-identity")
@cut_at("earlier")
@cut_at("enclave")
@cut_at("attest")
def test_run_that_is_ended_in_each_step_about_the_tee_goes_on_and_installs_one_enclave(
    box: TrustBox, station: Station
) -> None:
    """In one test, as each of them needs a box. The enclave is there and nobody has heard of it."""
    cuts = ("reach", "own-identity", "earlier", "enclave", "attest")
    for name in cuts:
        cut = tuple(cut_after(s, ctrl_c) if s.name == name else s for s in steps())
        with pytest.raises(KeyboardInterrupt):
            provision(box.target, PLAN, station, steps=partial(tuple, cut))
        assert not (station.records(box.target.serial) / "record.json").exists()

    done = provision(box.target, PLAN, station, steps=steps)

    outcomes = {report.name: report.outcome for report in done.reports}
    assert outcomes["enclave"] is Outcome.ALREADY
    assert set(outcomes.values()) == {Outcome.ALREADY, Outcome.CHECKED}


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")
