"""A provisioned box: what the run did, recorded and kept to itself; proved again from outside.

These share one box, which the first of them has provisioned. What one changes it puts back.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import IntegrityFailure, Misuse, TokenRefused
from harness.secret import Secret
from harness.target import Target
from harness.wire import TRAFFIC
from provisioning.local_dps import HUB
from provisioning.plan import Plan
from provisioning.record import load, value
from provisioning.reprove import Reproof, Verdict, reprove
from provisioning.reprove_checks import attestation, enclave, key, key_proof, pin_counters
from provisioning.run import Outcome, Provisioned, provision
from provisioning.station import Station
from provisioning.steps import LookStep
from provisioning.steps_box import ReachStep
from provisioning.steps_tee import AttestStep
from provisioning.trustbox import TrustBox
from provisioning.verdict import ZERO_HUK_UUID
from tests.device.provisioned import SO, USER, Watched, provision_watched
from tests.device.run_needs import A_RUN_NEEDS
from tests.device.spoiling import (
    Checked,
    another_token_ta,
    files_of,
    put_back,
    secrets_of,
    spoilt,
)
from tests.typed import Said, typed

pytestmark = [
    A_RUN_NEEDS,
    pytest.mark.timeout(400),
]
EFFECTS = {"token", "key", "certificate", "install", "enclave", "register", "iotedge"}
ALL = (
    *("identity", "station", "pin-counters", "key", "key-proof"),
    *("certificate", "files", "path", "handshake"),
    *("registration", "iotedge", "enclave", "storage", "attestation"),
)


@pytest.fixture(scope="module")
def kept() -> list[Watched]:
    """What ``done`` made."""
    return []


@pytest.fixture
def done(
    module_box: TrustBox,
    kept: list[Watched],
    tmp_path_factory: pytest.TempPathFactory,
    by: Deadline,
) -> Watched:
    """The box is provisioned: now, or before this test. After a failed one it is pristine again."""
    if not kept or not module_box.identity.chain(by=by):
        module_box.close()
        kept[:] = [provision_watched(module_box, tmp_path_factory.mktemp("factory"))]
    return kept[0]


def outcomes(run: Provisioned) -> dict[str, Outcome]:
    return {report.name: report.outcome for report in run.reports}


def verdicts(reproof: Reproof) -> dict[str, Verdict]:
    return {finding.name: finding.verdict for finding in reproof.findings}


def test_box_is_provisioned_once_and_not_twice(module_box: TrustBox, done: Watched) -> None:
    """The whole run, then the same again: the second finds all of it and changes nothing."""
    certificate = (done.run.directory / "device.pem").read_bytes()

    again = provision(module_box.target, done.plan, done.station)

    assert {n for n, o in outcomes(done.run).items() if o is Outcome.DONE} == EFFECTS
    assert {n for n, o in outcomes(again).items() if o is Outcome.ALREADY} == EFFECTS
    assert (again.directory / "device.pem").read_bytes() == certificate
    after = load(again.directory / "record.json")
    for about, name in (("enclave", "counter"), ("key", "spki_sha256"), ("box", "tee_uuid")):
        assert value(after, about, name) == value(done.record, about, name)
    assert value(after, "enrollment", "hub") == value(done.record, "enrollment", "hub") == HUB
    assert value(after, "attestation", "key_pinned_before") is True
    assert value(after, "key", "challenge") != value(done.record, "key", "challenge")


def test_record_holds_evidence_verdict_and_a_chain_that_openssl_verifies(
    module_box: TrustBox, done: Watched
) -> None:
    verdict = value(done.record, "attestation", "verdict")
    assert isinstance(verdict, dict)
    assert verdict["ok"] is True
    assert value(done.record, "box", "tee_uuid") != str(ZERO_HUK_UUID)
    assert value(done.record, "key", "signature_verified") is True
    assert done.record["evidence_level"] == module_box.target.evidence_level.value
    subjects = [of for of in done.record.values() if isinstance(of, dict)]
    ways = {fact["how"] for of in subjects for fact in of.values()}
    assert ways == {"observed", "asserted", "intended"}
    openssl = subprocess.run(
        ["openssl", "verify", "-CAfile", "chain.pem", "device.pem"],
        cwd=done.run.directory,
        capture_output=True,
        check=False,
    )
    assert openssl.returncode == 0, openssl.stderr


def test_secrets_are_in_no_record_log_report_error_or_command_line(done: Watched) -> None:
    """Planted PINs and all that the station makes for itself (EST login, DPS key, PINs of the CA's
    tokens): TRAFFIC logging on, processes of both sides sampled for as long as the run lasts.
    """
    text = done.told.encode(errors="surrogateescape")  # foreign bytes, too
    for kind in (b"libckteec", b"token_worker", b"s_client"):
        assert kind in done.seen.all, f"no {kind!r} was sampled: this looked at nothing"
    assert b"https://10." in text or b"register" in text
    assert TRAFFIC in done.levels
    secrets = {SO.encode(), USER.encode(), *secrets_of(done.station)}
    assert len(secrets) == 8
    for secret in secrets:
        for form in (secret, secret.hex().encode(), base64.b64encode(secret)[:-4]):
            assert form not in done.written + text + done.seen.all


Verifying = Callable[..., Said]


@pytest.fixture
def trustbox_verify(
    module_box: TrustBox,
    done: Watched,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Verifying:
    """``trustbox verify`` of this box as it is typed, with more options; it is open already."""

    @contextmanager
    def already_open(*_: object, **__: object) -> Iterator[Target]:
        yield module_box.target

    monkeypatch.setattr("provisioning.cli.verify.opened", already_open)
    where = ("--target", module_box.target.name, "--state", str(done.station.state))
    words = ("verify", module_box.target.serial, *where)
    return lambda *options: typed(monkeypatch, capsys, *words, *options)


@pytest.mark.needs(Capability.POWER)
def test_every_claim_of_the_record_is_proved_again_after_a_power_cut(
    module_box: TrustBox, done: Watched, trustbox_verify: Verifying
) -> None:
    before = files_of(module_box)

    said = trustbox_verify("--json")

    told = json.loads(said.out)
    assert {one["name"]: one["verdict"] for one in told["checks"]} == dict.fromkeys(
        ("reboot", *ALL), "ok"
    )
    assert (said.status, told["ok"], told["exit_status"], told["rebooted"]) == (0, True, 0, True)
    assert told["serial"] == module_box.target.serial
    assert all(name in said.err for name in ALL)  # for people, while it runs
    assert files_of(module_box) == before


@pytest.mark.fault(
    "Token",
    "another PKCS#11 module than the record's (its digest differs)",
    comes="trustbox verify: key-proof FAILED, status 7; the box as it was",
    then="find out who replaced the module; put the recorded one back, or provision"
    " again if it is meant",
)
def test_each_claim_that_is_not_so_is_named_and_the_others_still_hold(
    module_box: TrustBox, done: Watched, tmp_path: Path, trustbox_verify: Verifying
) -> None:
    """Spoilt in five places at once, then with a PIN that was tried wrongly."""
    target = module_box.target
    with put_back(done.station, tmp_path), spoilt(module_box, done):
        spoilt_proof = reprove(target, done.station, reboot=False)
        with TrustBox(target) as fresh, pytest.raises(TokenRefused):
            fresh.keys.login(done.plan.token_label, Secret(b"not-the-pin"), by=Deadline.after(30))
        tried = trustbox_verify("--no-reboot")

    # Its certificate is revoked, so no server of this station takes it any more.
    wrong = ("key-proof", "path", "handshake", "registration", "iotedge", "enclave")
    assert verdicts(spoilt_proof) == {
        **dict.fromkeys(ALL, Verdict.OK),
        **dict.fromkeys(wrong, Verdict.FAILED),
        **dict.fromkeys(("storage", "attestation"), Verdict.NOT_CHECKED),
    }
    assert (spoilt_proof.ok, spoilt_proof.exit_status) == (False, 7)
    assert tried.status == 7
    wrong_now = "Not as the record says: pin-counters, enclave.\nNot looked at: key, key-proof,"
    assert wrong_now in tried.out


def test_another_pkcs11_ta_is_noticed_and_only_taken_when_the_plan_names_it(
    module_box: TrustBox, done: Watched
) -> None:
    """The same TA under another good signature: keys, PINs and certificates go on working."""
    record = (done.run.directory / "record.json").read_bytes()
    old = str(value(done.record, "key", "token_ta_digest"))

    def run(plan: Plan, *steps: LookStep) -> str:
        """What stopped it; a run without the record's step."""
        with pytest.raises(IntegrityFailure) as stopped:
            provision(module_box.target, plan, done.station, steps=lambda: (ReachStep(), *steps))
        return f"{stopped.value.message} {stopped.value.hint}"

    with another_token_ta(module_box) as new:
        again = run(done.plan, Checked(enclave), AttestStep())
        proof = run(done.plan, Checked(pin_counters), Checked(key), Checked(key_proof))
        meant = replace(done.plan, token_ta=bytes.fromhex(new))
        updated = run(meant, Checked(enclave), Checked(attestation))

    assert f"its header digest was {old} when the record was written, and is now {new}" in again
    assert f'token_ta = "{new}"' in again
    assert "the PKCS#11 TA file's digest is" in proof
    # The plan's is taken by the run, and is still not the one of the record that is verified.
    assert f"PKCS#11 TA is {new}, and the record has {old}" in updated
    assert (done.run.directory / "record.json").read_bytes() == record


def test_box_without_a_record_is_not_proved(module_box: TrustBox, tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="there is no record of"):
        reprove(module_box.target, Station(tmp_path / "station"), reboot=False)
