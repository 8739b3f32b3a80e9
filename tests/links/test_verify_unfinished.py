"""``verify`` of a box whose last run did not come to its end, or whose record's files were changed.

SoftHSM2 stands in the TEE's token's place, at the far end of SSH: see host_box. The checks that
need a TEE are tests/device's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar
from uuid import UUID

import pytest
from cryptography import x509

from harness.deadline import Deadline
from harness.errors import LinkLost, Misuse
from provisioning.certificates import pem
from provisioning.plan import Plan
from provisioning.reprove import Finding, Reproof, Verdict, reprove
from provisioning.reprove_checks import CHECKS, Check
from provisioning.run import provision
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep
from provisioning.steps_box import RecordStep
from provisioning.steps_identity import CertificateStep, InstallStep
from provisioning.steps_key import KeyProofStep, KeyStep, TokenStep
from provisioning.unfinished import FILE
from provisioning.work import Work
from tests.links.est_pki import Pki
from tests.links.host_box import SERIAL, HostBox, Who, host_box
from tests.links.sshd import LocalSshd

pytestmark = pytest.mark.slow
OWN = '[enrollment.est]\nserver = "station"\n'
RENEWING = f"{OWN}renew_days = 3650\n"
HERE = ("station", "pin-counters", "key", "certificate", "files", "path")


def which(work: Work, by: Deadline) -> str:
    work.tee_uuid = UUID(int=1)
    return "this host"


LOOKS = (Check("identity", which), *(check for check in CHECKS if check.name in HERE))


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


def run(
    box: HostBox, plan: Plan, station: Station, *last: LookStep, of: InstallStep | None = None
) -> None:
    def steps() -> tuple[EffectStep | LookStep, ...]:
        key = (Who(), TokenStep(), KeyStep(), KeyProofStep())
        return (*key, CertificateStep(), of or InstallStep(), *last, RecordStep())

    provision(box.target, plan, station, steps=steps)


def proved(box: HostBox, station: Station) -> Reproof:
    return reprove(box.target, station, reboot=False, checks=LOOKS)


def failed(proof: Reproof) -> dict[str, Finding]:
    return {f.name: f for f in proof.findings if f.verdict is not Verdict.OK}


class Cut:
    """The next step meets a box that is gone."""

    name, doing, seconds = "register", "registering", 10.0

    def look(self, work: Work, by: Deadline) -> str:
        raise LinkLost("the box went away")


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
    comes="verify ends with 2 and says which run did not come to its end; never 7",
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


def other_chain(place: Path, pki: Pki) -> None:
    (place / "chain.pem").write_bytes(pem(pki.root))


def other_root(place: Path, pki: Pki) -> None:
    (place / "root.pem").write_bytes(pem(pki.root))


def one_more_issuer(place: Path, pki: Pki) -> None:
    (root,) = x509.load_pem_x509_certificates((place / "root.pem").read_bytes())
    kept = (place / "chain.pem").read_bytes()
    (place / "chain.pem").write_bytes(pem(pki.root) + kept)
    assert kept.endswith(pem(root))


def edited(**changes: object) -> Callable[[Path, Pki], None]:
    def edit(place: Path, pki: Pki) -> None:
        record = json.loads((place / "record.json").read_text())
        for name, found in changes.items():
            record["certificate"][name]["value"] = found
        (place / "record.json").write_text(json.dumps(record))

    return edit


@pytest.mark.fault(
    "Record",
    "chain.pem or root.pem beside the record is another CA's, or the record's words about the"
    " certificate were edited",
    comes="verify ends with 7 and names the file, or the word",
    then="run provision again: it writes them anew from what the box shows",
)
@pytest.mark.parametrize(
    ("spoil", "check", "said"),
    [
        pytest.param(other_chain, "files", "chain.pem", id="chain of another CA"),
        pytest.param(other_root, "files", "root.pem is another CA's", id="root of another CA"),
        pytest.param(one_more_issuer, "files", "certificates of others", id="one more issuer"),
        pytest.param(edited(serial="1a"), "certificate", "serial is", id="number edited"),
        pytest.param(
            edited(superseded=["1a"]), "certificate", "that it replaces", id="superseded edited"
        ),
        pytest.param(edited(subject="CN=x"), "certificate", "subject is", id="subject edited"),
    ],
)
def test_what_the_line_hands_on_with_a_box_is_proved_too(
    box: HostBox,
    station: Station,
    tmp_path: Path,
    spoil: Callable[[Path, Pki], None],
    check: str,
    said: str,
) -> None:
    (tmp_path / "pki").mkdir()
    spoil(station.records(SERIAL), Pki.make(tmp_path / "pki"))

    proof = proved(box, station)

    assert proof.exit_status == 7
    assert failed(proof)[check].verdict is Verdict.FAILED
    assert said in failed(proof)[check].said


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
    comes="that check is not made (4), the later ones are",
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
