"""The provisioning run, on the box under test: what may go wrong in it, and going on after that."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import (
    DeviceRefused,
    IntegrityFailure,
    LinkError,
    Misuse,
    RigError,
    TeeRefused,
    TokenRefused,
)
from provisioning.enclave_make import resigned_ta
from provisioning.plan import Plan, example_plan, parse_plan
from provisioning.run import Outcome, Provisioned, Watcher, provision
from provisioning.sample_enclave import SAMPLE
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep
from provisioning.steps_box import ReachStep
from provisioning.steps_identity import CertificateStep, InstallStep
from provisioning.steps_key import KeyStep, TokenStep
from provisioning.steps_tee import EnclaveStep
from provisioning.trustbox import TrustBox
from tests.device.enclaves import Stranger
from tests.device.run_needs import A_RUN_NEEDS
from tests.device.sample import build_sample
from tests.fault_rows import cut_at

pytestmark = [
    A_RUN_NEEDS,
    pytest.mark.timeout(400),
]

SO, USER = "so-pin-51733917", "user-pin-80264411"


def to_the_token() -> tuple[EffectStep | LookStep, ...]:
    return (ReachStep(), TokenStep())


def to_the_certificate() -> tuple[EffectStep | LookStep, ...]:
    return (ReachStep(), TokenStep(), KeyStep(), CertificateStep(), InstallStep())


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


@pytest.fixture
def pins(tmp_path: Path) -> Path:
    file = tmp_path / "pins.toml"
    file.touch(mode=0o600)
    file.write_text(f'so_pin = "{SO}"\nuser_pin = "{USER}"\n')
    return file


def plan(*changes: tuple[str, str]) -> Plan:
    text = example_plan()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return parse_plan(text.encode(), where="plan.toml", beside=Path("/"))


def with_pins(pins: Path) -> Plan:
    return plan(('"generate"\n', f'"{pins}"\n'))


def outcomes(done: Provisioned) -> dict[str, Outcome]:
    return {report.name: report.outcome for report in done.reports}


@pytest.mark.fault(
    "Token",
    "wrong user PIN, once",
    comes="TokenRefused CKR_PIN_INCORRECT, status 6; the objects as they were, one try used",
    then="put the box's own PIN into the file that the plan's [secrets] names, then run again",
)
def test_wrong_pin_is_said_once_and_the_right_one_completes(
    box: TrustBox, station: Station, pins: Path
) -> None:
    provision(box.target, with_pins(pins), station, steps=to_the_token)
    pins.write_text(f'so_pin = "{SO}"\nuser_pin = "not-{USER}"\n')

    with pytest.raises(TokenRefused, match="CKR_PIN_INCORRECT") as refusal:
        provision(box.target, with_pins(pins), station, steps=to_the_token)
    pins.write_text(f'so_pin = "{SO}"\nuser_pin = "{USER}"\n')
    again = provision(box.target, with_pins(pins), station, steps=to_the_token)

    assert refusal.value.exit_status == 6
    assert outcomes(again)["token"] is Outcome.ALREADY


@pytest.mark.fault(
    "Token",
    "the token was initialised by another station",
    comes="Misuse, status 2; the token as it was, no try used",
    then="name the file with its PINs in the plan's [secrets], or put it where the message says",
)
def test_token_of_another_station_is_left_alone(box: TrustBox, tmp_path: Path) -> None:
    provision(box.target, plan(), Station(tmp_path / "first"), steps=to_the_token)

    with pytest.raises(Misuse, match="has no PIN for it"):
        provision(box.target, plan(), Station(tmp_path / "second"), steps=to_the_token)


@pytest.mark.fault(
    "Run",
    "the TEE does not measure what it must",
    comes="IntegrityFailure, status 7; no token, no key, no certificate, no CA and no record is"
    " made",
    then="look at the box: trustbox attest; or correct integrity.golden in the plan",
)
def test_tee_that_fails_the_attestation_gets_no_token_no_key_and_no_certificate(
    box: TrustBox, station: Station, by: Deadline
) -> None:
    wrong = plan(('golden = "firmware"', f'golden = "{"00" * 32}"'))

    with pytest.raises(IntegrityFailure, match="tee-memory") as refused:
        provision(box.target, wrong, station)

    assert "integrity.golden" in refused.value.hint
    assert [token.label for token in box.keys.tokens(by=by) if token.initialised] == []
    assert box.identity.chain(by=by) == ()
    assert not (station.state / "ca").exists()
    assert not (station.records(box.target.serial) / "record.json").exists()


@pytest.mark.fault(
    "Files",
    "no space on the box for the certificate's file",
    comes="DeviceRefused, status 6; key and token are there",
    then="make room on the box and run again: it completes",
)
def test_no_space_on_the_box_is_said_and_a_second_run_completes(
    box: TrustBox, station: Station, by: Deadline
) -> None:
    directory = box.target.layout.identity_directory
    box.target.shell.run("mkdir", "-p", directory, by=by)
    box.target.shell.run("mount", "-t", "tmpfs", "-o", "size=4k", "full", directory, by=by)
    box.target.shell.run("sh", "-c", f"head -c 4096 /dev/zero > {directory}/full", by=by)

    with pytest.raises(DeviceRefused, match=r"(?i)space"):
        provision(box.target, plan(), station, steps=to_the_certificate)
    box.target.shell.run("umount", directory, by=Deadline.after(30))
    again = provision(box.target, plan(), station, steps=to_the_certificate)

    assert outcomes(again)["key"] is Outcome.ALREADY
    assert outcomes(again)["install"] is Outcome.DONE


@pytest.mark.fault(
    "Run",
    "the TEE refuses the plan's enclave",
    comes="TeeRefused, status 6; the enclave that was there before is there again",
    then="sign it with the key that the box's firmware trusts: trustbox ta verify",
)
def test_an_enclave_that_the_tee_refuses_leaves_the_one_that_was_there(
    box: TrustBox, station: Station, tmp_path: Path, by: Deadline
) -> None:
    good, place = build_sample(box.target), tmp_path / "stranger.ta"
    box.enclave.install(SAMPLE, good, by=by)
    place.write_bytes(resigned_ta(good, signer=Stranger(), by=by))
    wanted = replace(plan(), enclave=place, enclave_uuid=SAMPLE)

    with pytest.raises(TeeRefused):
        provision(box.target, wanted, station, steps=lambda: (ReachStep(), EnclaveStep()))

    assert box.target.shell.read(box.enclave.path(SAMPLE), by=by) == good


@pytest.mark.needs(Capability.POWER)
@pytest.mark.parametrize(
    "moment", [pytest.param(step, marks=cut_at(step)) for step in ("token", "key", "install")]
)
def test_power_cut_in_a_step_is_said_and_a_second_run_completes(
    box: TrustBox, station: Station, moment: str
) -> None:
    with pytest.raises((LinkError, RigError)):
        provision(
            box.target,
            plan(),
            station,
            steps=to_the_certificate,
            watcher=PlugPuller(box, moment),
        )
    box.target.rig.on(by=Deadline.after(60))
    again = provision(box.target, plan(), station, steps=to_the_certificate)

    assert outcomes(again).keys() == {"reach", "token", "key", "certificate", "install"}
    assert Outcome.FAILED not in outcomes(again).values()


@pytest.mark.needs(Capability.MORE_BOXES)
def test_two_boxes_get_two_identities(
    box: TrustBox, another_box: Callable[..., TrustBox], station: Station
) -> None:
    other = another_box()

    first = provision(box.target, plan(), station, steps=to_the_certificate)
    second = provision(other.target, plan(), station, steps=to_the_certificate)

    assert first.work.tee_uuid != second.work.tee_uuid
    assert first.work.chain is not None
    assert second.work.chain is not None
    mine, others = first.work.chain[0], second.work.chain[0]
    assert mine.public_key() != others.public_key()
    assert mine.subject != others.subject
    assert mine.serial_number != others.serial_number


class PlugPuller(Watcher):
    """Cuts the box's power when a step begins."""

    def __init__(self, box: TrustBox, moment: str) -> None:
        self._box, self._moment = box, moment

    def started(self, step: EffectStep | LookStep) -> None:
        if step.name == self._moment:
            self._box.target.rig.off()


def test_journal_tells_of_every_effect_what_was_meant_before_it_was_done(
    box: TrustBox, station: Station
) -> None:
    done = provision(box.target, plan(), station, steps=to_the_token)

    lines = (done.directory / "journal.jsonl").read_text().splitlines()
    told = [(entry["step"], entry["phase"]) for entry in map(json.loads, lines)]
    assert told == [("reach", "checked"), ("token", "intent"), ("token", "done")]
