"""A run whose process is killed in a step, after its effect and before its end is on the journal.

This host over SSH, with SoftHSM2 for the TEE's token: see host_box. What a cut does to the steps
about the TEE itself is in tests/device/test_run_ended.py.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.holding import Endpoint
from harness.secret import Secret
from provisioning.keys import KeySession
from provisioning.run import Outcome, Provisioned, provision
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep
from provisioning.steps_box import RecordStep
from provisioning.steps_identity import CertificateStep, InstallStep
from provisioning.steps_key import KeyProofStep, KeyStep, MoreKeysStep, TokenStep
from provisioning.token_public import KeyProfile
from tests.cut_steps import cut_after, kill_me
from tests.fault_rows import cut_at
from tests.links.host_box import SERIAL, USER_PIN, HostBox, Who, host_box, last_words, recorded
from tests.links.sshd import LocalSshd
from tests.links.token_rows import objects

pytestmark = pytest.mark.slow
CUT = ("token", "key", "key-proof", "keys", "certificate", "install", "record")


def steps() -> tuple[EffectStep | LookStep, ...]:
    return (
        *(Who(), TokenStep(), KeyStep(), KeyProofStep(), MoreKeysStep(), CertificateStep()),
        *(InstallStep(), RecordStep()),
    )


def run(box: HostBox, state: Path, *, cut: str = "") -> Provisioned:
    """To the end, or until the step ``cut`` ends this process."""

    def cut_there() -> tuple[EffectStep | LookStep, ...]:
        return tuple(cut_after(s, kill_me) if s.name == cut else s for s in steps())

    plan = replace(box.plan(""), keys={"logging": KeyProfile.EC_P256})
    return provision(box.target, plan, Station(state), steps=cut_there)


def kinds(box: HostBox, by: Deadline) -> Counter[str]:
    """How many objects of each kind the token has."""
    with closing(KeySession(box.target)) as keys:
        keys.login("trustbox", Secret(USER_PIN.encode()), by=by)
        return Counter(kind for kind, _, _ in keys.token.objects(by=by))


@dataclass(frozen=True)
class There:
    """The SSH server of another process."""

    endpoint_there: Endpoint

    def endpoint(self) -> Endpoint:
        return self.endpoint_there


def run_and_die(there: Endpoint, place: Path, state: Path, step: str) -> None:
    """In a process of its own."""
    with host_box(There(there), place) as box:
        run(box, state, cut=step)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    made = tmp_path / "box"
    made.mkdir()
    return made


@pytest.fixture
def box(sshd: LocalSshd, place: Path) -> Iterator[HostBox]:
    with host_box(sshd, place) as made:
        yield made


@pytest.mark.parametrize("step", [pytest.param(name, marks=cut_at(name)) for name in CUT])
def test_run_that_is_killed_in_a_step_is_completed_by_the_next_and_doubles_nothing(
    sshd: LocalSshd, box: HostBox, place: Path, tmp_path: Path, step: str, by: Deadline
) -> None:
    state = tmp_path / "station"
    process = multiprocessing.get_context("spawn").Process(
        target=run_and_die, args=(sshd.endpoint(), place, state, step)
    )
    process.start()
    process.join(100)
    assert process.exitcode == -signal.SIGKILL
    before, station = objects(box), Station(state)
    heard = last_words(station)

    done = run(box, state)

    assert heard != (step, "done")
    assert {report.outcome for report in done.reports} <= set(Outcome) - {Outcome.FAILED}
    assert before <= objects(box)
    assert kinds(box, by) == {"private": 2, "public": 2, "certificate": 1}
    issued = list((station.records(SERIAL) / "issued").iterdir())
    assert [file.stem for file in issued] == [recorded(station, "certificate", "serial")]
    assert recorded(station, "certificate", "superseded") == []
    assert box.chain.read_bytes().startswith((station.records(SERIAL) / "device.pem").read_bytes())
