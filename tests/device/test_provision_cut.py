"""A run whose power is cut after registering and after configuring, and one without space."""

from __future__ import annotations

import sqlite3
import tomllib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import LinkError, RigError, TokenRefused
from provisioning.iotedge import CONFIG_PATH
from provisioning.plan import example_plan, parse_plan
from provisioning.record import load, value
from provisioning.run import Outcome, Provisioned, Watcher, provision
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep
from provisioning.steps_box import ReachStep, RecordStep
from provisioning.steps_dps import RegisterStep
from provisioning.steps_edge import EdgeStep
from provisioning.steps_identity import CertificateStep, InstallStep
from provisioning.steps_key import KeyStep, TokenStep
from provisioning.trustbox import TrustBox
from provisioning.work import Work
from tests.device.run_needs import A_RUN_NEEDS
from tests.fault_rows import cut_at

pytestmark = [
    A_RUN_NEEDS,
    pytest.mark.timeout(400),
]
PLAN = parse_plan(example_plan().encode(), where="plan.toml", beside=Path("/"))
Step = EffectStep | LookStep


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


def to_the_certificate() -> tuple[Step, ...]:
    return (ReachStep(), TokenStep(), KeyStep(), CertificateStep(), InstallStep())


def outcomes(done: Provisioned) -> dict[str, Outcome]:
    return {report.name: report.outcome for report in done.reports}


class RegisteredThenCut(RegisterStep):
    """Loses power when the service has assigned the box, before the run hears itself say so."""

    def act(self, work: Work, by: Deadline) -> None:
        super().act(work, by)
        work.box.target.rig.off()


class WrittenThenCut(EdgeStep):
    """Loses power with the file just written, before anything else could bring it to the disk."""

    def act(self, work: Work, by: Deadline) -> None:
        super().act(work, by)
        work.box.target.rig.off()


def registrations(station: Station) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(station.state / "services" / "dps.sqlite")) as service:
        return service.execute("SELECT * FROM registration").fetchall()


@cut_at("register")
@cut_at("iotedge")
@pytest.mark.slow  # two boots and three runs
@pytest.mark.needs(Capability.POWER)
def test_power_cuts_after_registering_and_after_configuring_double_nothing(
    box: TrustBox, station: Station
) -> None:
    """Two cuts in a row, each followed by the same run again; the third one completes."""
    rig, shell, records = box.target.rig, box.target.shell, station.records(box.target.serial)

    def steps(register: Step, edge: Step) -> Callable[[], tuple[Step, ...]]:
        return lambda: (*to_the_certificate(), register, edge, RecordStep())

    def cut(register: Step, edge: Step) -> None:
        with pytest.raises((LinkError, RigError)):
            provision(box.target, PLAN, station, steps=steps(register, edge))
        assert not (records / "record.json").exists()
        rig.on(by=Deadline.after(60))

    cut(RegisteredThenCut(), EdgeStep())
    registered, certificate = registrations(station), (records / "device.pem").read_bytes()
    cut(RegisterStep(), WrittenThenCut())
    by = Deadline.after(60)
    there = shell.read(CONFIG_PATH, by=by)
    done = provision(box.target, PLAN, station, steps=steps(RegisterStep(), EdgeStep()))

    assert tomllib.loads(there.decode())["aziot_keys"]
    assert set(outcomes(done).values()) == {Outcome.ALREADY, Outcome.CHECKED}
    assert registrations(station) == registered
    assert len(registered) == 1
    assert [p.name for p in (records / "issued").iterdir()] == [f"{_number(done)}.pem"]
    assert (records / "device.pem").read_bytes() == certificate
    assert shell.read(CONFIG_PATH, by=by) == there
    assert value(load(records / "record.json"), "enrollment", "status") == "assigned"


def _number(done: Provisioned) -> str:
    assert done.work.chain is not None
    return f"{done.work.chain[0].serial_number:x}"


class Meanwhile(Watcher):
    """Does something when a step begins."""

    def __init__(self, moment: str, do: Callable[[], object]) -> None:
        self._moment, self._do = moment, do

    def started(self, step: Step) -> None:
        if step.name == self._moment:
            self._do()


@pytest.mark.fault(
    "TEE storage",
    "no space for the TEE's storage",
    comes="TokenRefused CKR_GENERAL_ERROR, status 6; no half pair",
    then="make room in the TEE's storage directory on the box and run again: the key is made then",
)
def test_no_space_for_the_tees_storage_is_said_and_a_second_run_completes(
    box: TrustBox, station: Station
) -> None:
    """The TEE keeps its objects on the normal world's disk, of which nothing is left."""
    root, shell = box.target.layout.storage_root, box.target.shell
    full = (
        'more() { fallocate "$@" || busybox fallocate "$@"; }; : >"$1/full"; for n in 268435456'
        ' 16777216 1048576 65536 4096; do while more -o "$(stat -c %s "$1/full")" -l $n "$1/full";'
        " do :; done; done 2>/dev/null"
    )
    filling = Meanwhile(
        "key",
        lambda: shell.run("sh", "-c", full, "sh", root, by=Deadline.after(60), check=False),
    )

    with pytest.raises(TokenRefused):
        provision(box.target, PLAN, station, steps=to_the_certificate, watcher=filling)
    box.target.shell.run("rm", f"{root}/full", by=Deadline.after(30))
    again = provision(box.target, PLAN, station, steps=to_the_certificate)

    assert outcomes(again)["token"] is Outcome.ALREADY
    assert outcomes(again)["key"] is Outcome.DONE
