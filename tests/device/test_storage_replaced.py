"""A certified box whose TEE's storage was lost: refused before anything is made, and the way on."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import IntegrityFailure
from provisioning.plan import example_plan, parse_plan
from provisioning.record import load, value
from provisioning.run import Outcome, provision
from provisioning.sample_enclave import SAMPLE
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep
from provisioning.steps_box import ReachStep, RecordStep
from provisioning.steps_identity import CertificateStep
from provisioning.steps_key import KeyStep, TokenStep
from provisioning.steps_own import EarlierStep
from provisioning.steps_tee import AttestStep, EnclaveStep
from provisioning.trustbox import TrustBox
from tests.device.run_needs import A_RUN_NEEDS

pytestmark = [A_RUN_NEEDS, pytest.mark.timeout(400)]
PLAN = parse_plan(
    example_plan().partition("\n[enrollment.est]\n")[0].encode(),
    where="plan.toml",
    beside=Path("/"),
)


def steps() -> tuple[EffectStep | LookStep, ...]:
    return (
        *(ReachStep(), EarlierStep(), EnclaveStep(), AttestStep()),
        *(TokenStep(), KeyStep(), CertificateStep(), RecordStep()),
    )


@pytest.mark.fault(
    "TEE storage",
    "a certified box has lost its TEE's storage: another disk, or wiped",
    comes="IntegrityFailure, status 7, in the step earlier, before anything is made",
    then="bring back its disk; or say with --replace NUMBER which certificate its key replaces",
    case="F-21",
)
def test_a_certified_box_without_its_storage_gets_no_other_key_but_by_an_explicit_word(
    box: TrustBox, tmp_path: Path
) -> None:
    target, station = box.target, Station(tmp_path / "station")
    first = provision(target, PLAN, station, steps=steps).work
    assert first.chain is not None
    number = first.chain[0].serial_number
    target.rig.restore(by=Deadline.after(120))  # the storage that it was delivered with, same TEE

    with pytest.raises(IntegrityFailure, match=r"is blank, although .* was certified"):
        provision(target, PLAN, station, steps=steps)
    by = Deadline.after(60)
    assert not any(token.initialised for token in box.keys.tokens(by=by))
    assert SAMPLE not in {one.uuid for one in box.enclave.installed(by=by)}
    box.close()

    again = provision(target, PLAN, station, steps=steps, replaces=number)

    assert {r.name: r.outcome for r in again.reports}["key"] is Outcome.DONE
    kept = load(station.records(target.serial) / "record.json")
    assert value(kept, "attestation", "key_pinned_before") is False
