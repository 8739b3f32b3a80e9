"""A plan's keys and PINs on a box: other profiles, more keys, PINs that nobody has to keep."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import BadInput, IntegrityFailure, Misuse, TokenRefused
from harness.target import Target
from provisioning.key_rotation import retire, rotate
from provisioning.pin_sources import DerivedPins
from provisioning.pins import Pins
from provisioning.plan import Plan, example_plan, parse_plan
from provisioning.record import load, value
from provisioning.reprove import Finding, Verdict, reprove
from provisioning.run import Outcome, Provisioned, provision
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep
from provisioning.steps_box import ReachStep, RecordStep
from provisioning.steps_identity import CertificateStep, InstallStep
from provisioning.steps_key import KeyProofStep, KeyStep, MoreKeysStep, TokenStep
from provisioning.trustbox import TrustBox
from tests.device.run_needs import A_RUN_NEEDS

pytestmark = [
    A_RUN_NEEDS,
    pytest.mark.timeout(400),
]

RUNS_SECONDS = 180.0
"""Several provisioning runs and looks in one test, each with a deadline of its own as well: what
the test itself asks comes after them."""
GENERATE = '\nsource = "generate"'


def keys_only() -> tuple[EffectStep | LookStep, ...]:
    return (ReachStep(), TokenStep(), KeyStep(), KeyProofStep(), MoreKeysStep(), RecordStep())


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


def plan(*changes: tuple[str, str]) -> Plan:
    text = example_plan()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return parse_plan(text.encode(), where="plan", beside=Path("/"))


def run(target: Target, wanted: Plan, station: Station) -> Provisioned:
    return provision(target, wanted, station, steps=keys_only)


def test_keys_of_the_plan_are_made_once_and_recorded_with_their_template(
    box: TrustBox, station: Station
) -> None:
    """PINs derived in the factory's HSM: a station that lost everything else opens the token."""
    DerivedPins("softhsm:line", station.state).make(by=Deadline.after(60))
    wanted = plan(
        (GENERATE, '\nsource = "derived"\nhsm = "softhsm:line"'),
        ('\nprofile = "ec-p256"', '\nprofile = "ec-p384"'),
        ("[keys]", '[keys]\nstorage = "aes-256"\nsigning = "ec-p256"'),
    )

    first, again = (run(box.target, wanted, station) for _ in range(2))

    outcomes = {report.name: report.outcome for report in again.reports}
    record = load(first.directory / "record.json")
    made = value(record, "keys", "storage")
    probes = value(record, "key", "probes")
    assert isinstance(probes, list)
    # What was not tried is told apart from what was not refused.
    assert all({"ran", "given", "refused"} <= set(probe) for probe in probes)
    assert {outcomes[name] for name in ("token", "key", "keys")} == {Outcome.ALREADY}
    assert (value(record, "key", "algorithm"), value(record, "key", "template")) == (
        "ec-p384",
        "strict",
    )
    assert isinstance(made, dict)
    assert (made["profile"], made["verdict"]) == ("aes-256", "made-inside")
    assert not list(station.state.glob("pins/*.toml"))


def test_plans_keys_are_proved_again_and_what_is_erased_or_replaced_is_named(
    box: TrustBox, station: Station
) -> None:
    """The replaced ones have the same CKA_ID, label and attributes, and are good keys."""
    by = Deadline.after(RUNS_SECONDS)
    more = '[keys]\nstorage = "aes-256"\nsigning = "ec-p256"\nspare = "ec-p256"'
    run(box.target, plan(("[keys]", more)), station)

    good = keys_proved_again(box.target, station)
    [pins] = [Pins.read(file) for file in station.state.glob("pins/*.toml")]
    box.keys.login("trustbox", pins.user, by=by)
    storage, signing, spare = (
        box.keys.find_secret("storage", by=by),
        box.keys.find("signing", by=by),
        box.keys.find("spare", by=by),
    )
    assert storage
    assert signing
    assert spare
    for key in (storage, signing, spare):
        box.keys.erase(key, by=by)
    box.keys.generate_secret("storage", by=by)
    box.keys.generate("spare", by=by)
    spoilt = keys_proved_again(box.target, station)

    assert (good.verdict, spoilt.verdict) == (Verdict.OK, Verdict.FAILED)
    assert "storage (aes-256), signing (ec-p256), spare (ec-p256): as recorded" in good.said
    assert "key storage: its check value is" in spoilt.said
    assert "holds no key signing" in spoilt.said
    assert f"and the record has {spare.spki_sha256}" in spoilt.said


def keys_proved_again(target: Target, station: Station) -> Finding:
    """That finding alone: this box has no certificate and no enclave to prove."""
    proof = reprove(target, station, reboot=False)
    return next(finding for finding in proof.findings if finding.name == "keys")


def test_key_of_another_profile_than_the_plans_is_not_touched(
    box: TrustBox, station: Station, by: Deadline
) -> None:
    run(box.target, plan(), station)

    with pytest.raises(IntegrityFailure, match="is ec-p256, and the plan wants ec-p384"):
        run(box.target, plan(('\nprofile = "ec-p256"', '\nprofile = "ec-p384"')), station)


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("raise SystemExit('no PIN for this box')", Misuse),
        ("print('so_pin = \"123\"')", BadInput),
    ],
    ids=["fails", "PIN of 3 octets"],
)
def test_command_without_pins_stops_before_the_token_is_touched(
    box: TrustBox, station: Station, program: str, error: type[Exception], by: Deadline
) -> None:
    words = json.dumps([sys.executable, "-c", program])  # TOML reads such an array, too
    wanted = plan((GENERATE, f'\nsource = "command"\ncommand = {words}'))

    with pytest.raises(error):
        run(box.target, wanted, station)

    assert not any(token.initialised for token in box.keys.tokens(by=by))


def test_token_that_was_initialised_with_other_pins_is_refused_and_kept(
    box: TrustBox, station: Station, by: Deadline
) -> None:
    """One try is spent and counted; the second run's plan has the PINs of another secret."""
    run(box.target, plan(), station)
    DerivedPins("softhsm:line", station.state).make(by=by)
    derived = plan((GENERATE, '\nsource = "derived"\nhsm = "softhsm:line"'))

    with pytest.raises(TokenRefused, match="CKR_PIN_INCORRECT"):
        run(box.target, derived, station)

    [token] = [token for token in box.keys.tokens(by=by) if token.initialised]
    assert station.pin_budget.failures(token, "user") == 1


def test_rotated_key_is_the_plans_key_and_gets_the_next_record(
    box: TrustBox, station: Station
) -> None:
    """Old key and certificate stay until the new certificate is in; then the run takes the new."""
    by = Deadline.after(RUNS_SECONDS)
    steps = (ReachStep(), TokenStep(), KeyStep(), CertificateStep(), InstallStep(), RecordStep())
    first = provision(box.target, plan(), station, steps=lambda: steps)
    [pins] = [Pins.read(file) for file in station.state.glob("pins/*.toml")]
    box.keys.login("trustbox", pins.user, by=by)

    _, new = rotate(box.keys, "device-id", by=by)
    between = provision(box.target, plan(), station, steps=lambda: steps)
    with station.authority(by=by) as ca:
        request = box.identity.request(new.key, by=by)
        old = ca.good(box.target.serial)[0].number
        issued = ca.certify(request, box.target.serial, days=30, replaces=old, by=by)
        box.identity.install(new.key, (issued, ca.issuing), by=by)
    after = provision(box.target, plan(), station, steps=lambda: steps)
    gone = retire(box.keys, "device-id", by=by)

    keys = [run.work.key.id for run in (first, between, after) if run.work.key]
    assert keys == [box.keys.id_of("device-id", number) for number in (1, 1, 2)]
    assert {report.outcome for report in after.reports if report.name in ("key", "install")} == {
        Outcome.ALREADY
    }
    assert [one.number for one in gone] == [1]
