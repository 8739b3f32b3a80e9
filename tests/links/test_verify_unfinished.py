"""``verify`` of a box whose last run did not come to its end.

SoftHSM2 stands in the TEE's token's place, at the far end of SSH: see host_box. The checks that
need a TEE are tests/device's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from cryptography import x509

from harness.deadline import Deadline
from harness.errors import IntegrityFailure, LinkLost, Misuse, TrustBoxError
from provisioning.certificates import pem
from provisioning.identity import IdentitySession
from provisioning.key_rotation import rotate
from provisioning.keys import KeySession
from provisioning.pins import Pins
from provisioning.reprove import Verdict, reprove
from provisioning.reprove_checks import Check
from provisioning.station import Station
from provisioning.steps import LookStep
from provisioning.steps_identity import InstallStep
from provisioning.unfinished import FILE, record_is_behind
from provisioning.work import Work
from tests.links.host_box import SERIAL, HostBox, host_box
from tests.links.proving import OWN, RENEWING, failed, proved, run, which
from tests.links.sshd import LocalSshd

pytestmark = pytest.mark.slow


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


@pytest.fixture
def box(sshd: LocalSshd, tmp_path: Path, station: Station) -> Iterator[HostBox]:
    """Provisioned, and proved to be as its record says."""
    place = tmp_path / "box"
    place.mkdir()
    with host_box(sshd, place) as made:
        run(made, made.plan(OWN), station)
        proof = proved(made, station)
        assert (proof.exit_status, failed(proof)) == (0, {})
        yield made


class Cut:
    """The next step meets a box that is gone."""

    name, doing, seconds = "register", "registering", 10.0

    def __init__(self, problem: TrustBoxError | None = None) -> None:
        self._problem = problem or LinkLost("the box went away")

    def look(self, work: Work, by: Deadline) -> str:
        raise self._problem


class HalfInstalled(InstallStep):
    """The file is the new one, and the power goes before the token has it."""

    def act(self, work: Work, by: Deadline) -> None:
        assert work.chain is not None
        work.box.target.shell.write(
            work.box.identity.chain_path, pem(*work.chain), by=by, mode=0o644
        )
        raise LinkLost("the box went away")


CUTS: dict[str, tuple[tuple[LookStep, ...], InstallStep | None]] = {
    "after it was installed": ((Cut(),), None),
    "in the middle of installing": ((), HalfInstalled()),
}


@pytest.mark.fault(
    "Record",
    "a run was cut after a renewed certificate was on the box, before the record was written",
    comes="verify ends with status 2 and says which run did not come to its end; never 7",
    then="run provision again: it goes on from what the box shows",
)
@pytest.mark.parametrize(("last", "of"), CUTS.values(), ids=CUTS.keys())
def test_a_cut_run_makes_verify_cry_no_tampering_and_the_next_run_heals_it(
    box: HostBox, station: Station, last: tuple[LookStep, ...], of: InstallStep | None
) -> None:
    with pytest.raises(LinkLost):
        run(box, box.plan(RENEWING), station, *last, of=of)
    behind = proved(box, station)
    run(box, box.plan(OWN), station)
    healed = proved(box, station)

    assert behind.exit_status == Misuse.exit_status
    assert Verdict.FAILED not in {f.verdict for f in behind.findings}
    assert "did not come to its end" in failed(behind)["run"].said
    assert (healed.exit_status, failed(healed)) == (0, {})
    assert not (station.records(SERIAL) / FILE).exists()


def test_a_run_that_the_box_failed_is_an_integrity_failure_of_verify_too(
    box: HostBox, station: Station
) -> None:
    with pytest.raises(IntegrityFailure):
        run(box, box.plan(RENEWING), station, Cut(IntegrityFailure("not what it must be")))

    proof = proved(box, station)

    assert proof.exit_status == 7
    assert failed(proof)["run"].verdict is Verdict.FAILED
    assert "is to be revoked" in failed(proof)["path"].said


def test_a_crl_whose_time_ran_out_is_named(box: HostBox, station: Station, by: Deadline) -> None:
    with station.authority(by=by) as ca:
        replace(ca, settings=replace(ca.settings, crl_days=0)).publish(now=True, by=by)

    [said] = [f.said for f in proved(box, station).findings if f.name == "station"]

    assert "its CRL's time ran out" in said
    assert "trustbox ca renew --crl" in said


def test_a_box_that_is_neither_as_recorded_nor_as_the_cut_run_left_it_is_not_proved(
    box: HostBox, station: Station
) -> None:
    before = box.chain.read_bytes()
    with pytest.raises(LinkLost):
        run(box, box.plan(RENEWING), station, Cut())
    box.chain.write_bytes(before)

    proof = proved(box, station)

    assert proof.exit_status == 7
    assert failed(proof)["certificate"].verdict is Verdict.FAILED


def test_a_run_that_was_stopped_before_it_changed_anything_leaves_a_box_that_is_proved(
    box: HostBox, station: Station
) -> None:
    with pytest.raises(LinkLost):
        run(box, box.plan(OWN), station, Cut())

    proof = proved(box, station)

    assert (proof.exit_status, failed(proof)) == (0, {})


@pytest.mark.fault(
    "Record",
    "a key was rotated, and no run has written the record since",
    comes="verify ends with status 2 and says so; never 7",
    then="run provision again, then trustbox keys retire",
)
def test_a_rotated_key_makes_verify_cry_no_tampering_and_the_next_run_heals_it(
    box: HostBox, station: Station, by: Deadline
) -> None:
    """As ``trustbox keys rotate`` does it."""
    place = station.records(SERIAL)
    with closing(KeySession(box.target)) as keys, station.authority(by=by) as ca:
        keys.login("trustbox", Pins.read(box.pins).user, by=by)
        record_is_behind(place, "keys rotate device-id", "key", "certificate", "install")
        _, new = rotate(keys, "device-id", by=by)
        identity = IdentitySession(box.target, keys)
        old = ca.good(SERIAL)[0].number
        request = identity.request(new.key, by=by)
        made = ca.certify(request, SERIAL, days=30, replaces=old, by=by)
        identity.install(new.key, (made, ca.issuing), by=by)

    behind = proved(box, station)
    run(box, box.plan(OWN), station)
    healed = proved(box, station)

    assert behind.exit_status == Misuse.exit_status
    assert Verdict.FAILED not in {f.verdict for f in behind.findings}
    assert "keys rotate device-id" in failed(behind)["run"].said
    assert (healed.exit_status, failed(healed)) == (0, {})


@pytest.mark.fault(
    "CA",
    "verify, and the CA's index is lost",
    comes="the checks that need the CA are not made (2); nothing is held against the box",
    then="bring the index back, or trustbox ca recover",
)
def test_a_lost_index_is_told_by_verify_and_not_held_against_the_box(
    box: HostBox, station: Station
) -> None:
    (station.state / "ca" / "index.sqlite").unlink()

    proof = proved(box, station)

    assert {f.name: f.verdict for f in failed(proof).values()} == dict.fromkeys(
        ("station", "files", "path"), Verdict.NOT_CHECKED
    )
    assert "index.sqlite is lost" in failed(proof)["station"].said
    assert proof.exit_status == Misuse.exit_status
    assert not (station.state / "ca" / "index.sqlite").exists()


class Noise:
    """A library's exception, of what a box relayed."""

    raised: ClassVar[list[Exception]] = [
        json.JSONDecodeError("Expecting value", "<html>", 0),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        x509.InvalidVersion("v9", 9),
        RecursionError("too deep"),
    ]


@pytest.mark.fault(
    "Record",
    "the box relays garbage to a check of verify",
    comes="that check is not made, status 4, the later ones are",
    then="look at the box: what it shows is nothing that a good one would",
)
@pytest.mark.parametrize("problem", Noise.raised, ids=lambda p: type(p).__name__)
def test_a_box_cannot_end_the_proof_by_what_it_relays(
    box: HostBox, station: Station, problem: Exception
) -> None:
    def look(work: Work, by: Deadline) -> str:
        raise problem

    checks = (Check("relayed", look), Check("later", which))
    proof = reprove(box.target, station, reboot=False, checks=checks)

    assert [(f.name, f.verdict) for f in proof.findings] == [
        ("relayed", Verdict.NOT_CHECKED),
        ("later", Verdict.OK),
    ]
    assert proof.exit_status == 4
    assert type(problem).__name__ in proof.findings[0].said
