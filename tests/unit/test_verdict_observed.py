"""What was seen of a box is judged by name: as it must be, wrong, not there, or not comparable."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.boot_seen import BootSeen
from harness.errors import BadInput, Misuse, TeeRefused
from harness.tee_codes import TeeCode
from provisioning.evidence import EnclaveEvidence
from provisioning.observe import of_storage
from provisioning.observed import DeviceNode, LogSeen, Observed, TeeAnswer
from provisioning.policy import Check, Policy
from provisioning.verdict import Outcome, Verdict, verify
from provisioning.verdict_observed import OF_OBSERVED
from tests.unit import attested

pytestmark = pytest.mark.integrity
NOBODY = "00000000-1111-4222-8333-444444444444.ta"


def judged(observed: Observed | None, policy: Policy | None = None) -> Verdict:
    return verify(attested.evidence(), policy or attested.policy(), observed)


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"storage": TeeAnswer(TeeCode.CORRUPT_OBJECT, 3)}, Check.STORAGE),
        ({"storage": TeeAnswer(0, 0)}, Check.STORAGE),
        ({"tokens": ()}, Check.STORAGE_KEPT),
        ({"tokens": ("0 another",)}, Check.STORAGE_KEPT),
        ({"tokens": ("1 trustbox",)}, Check.STORAGE_KEPT),
        ({"counter": 16}, Check.STORAGE_FRESH),
        ({"ta_files": {}}, Check.TA_FILES),
        ({"ta_files": {**attested.TA_FILES, NOBODY: "00" * 32}}, Check.TA_FILES),
        ({"ta_files": dict.fromkeys(attested.TA_FILES, "00" * 32)}, Check.TA_FILES),
        ({"bad_ta": TeeAnswer(0, 0)}, Check.LOAD_ENFORCEMENT),
        ({"bad_ta": TeeAnswer(TeeCode.BAD_FORMAT, 3)}, Check.LOAD_ENFORCEMENT),
        ({"bad_ta": TeeAnswer(TeeCode.SECURITY, 4)}, Check.LOAD_ENFORCEMENT),
        ({"boot": BootSeen("registers", False, "not verified")}, Check.BOOT_STATE),
        ({"ports": ("tcp/0.0.0.0/22", "udp/0.0.0.0/69")}, Check.LISTENING_PORTS),
        ({"passwords": {"root": "default"}}, Check.DEFAULT_PASSWORDS),
        ({"passwords": {"root": "locked", "admin": "empty"}}, Check.DEFAULT_PASSWORDS),
        ({"tee_devices": (DeviceNode("/dev/tee0", 0o666, 0, 0),)}, Check.TEE_DEVICE),
        ({"tee_devices": (DeviceNode("/dev/tee0", 0o600, 1000, 0),)}, Check.TEE_DEVICE),
        ({"tee_devices": (DeviceNode("/dev/tee0", 0o660, 0, 100, "users"),)}, Check.TEE_DEVICE),
        ({"tee_devices": (DeviceNode("/dev/tee0", 0o660, 0, 101),)}, Check.TEE_DEVICE),
        ({"odd_files": ("0.ta",)}, Check.TA_FILES),
        ({"more_ports": 1}, Check.LISTENING_PORTS),
        ({"log": LogSeen(3, ("E/TC:0 0 Panic at ...",))}, Check.SECURE_LOG),
    ],
    ids=lambda value: value.value if isinstance(value, Check) else "",
)
def test_what_was_seen_to_be_wrong_fails_its_check_and_no_other(
    change: dict[str, object], check: Check
) -> None:
    verdict = judged(replace(attested.observed(), **change))  # type: ignore[arg-type]

    assert {finding.check for finding in verdict.refusals} == {check}
    assert verdict[check].outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"module_signatures": "N"}, Check.MODULE_SIGNING),
        ({"lockdown": "none"}, Check.LOCKDOWN),
        ({"ima": 1}, Check.IMA),
        ({"verity": False}, Check.DM_VERITY),
    ],
    ids=lambda value: value.value if isinstance(value, Check) else "",
)
def test_a_protection_that_is_not_switched_on_is_absent(
    change: dict[str, object], check: Check
) -> None:
    verdict = judged(replace(attested.observed(), **change))  # type: ignore[arg-type]

    assert verdict[check].outcome is Outcome.ABSENT
    assert verdict.ok


def test_what_was_not_seen_never_passes() -> None:
    verdict = judged(None)

    assert not any(verdict[check].outcome is Outcome.PASS for check in OF_OBSERVED)
    assert not verdict.ok  # the policy brings files and a counter to compare


def test_without_anything_to_compare_with_nothing_passes_for_it() -> None:
    bare = replace(attested.policy(), ta_files=None, counter=None, ports=None, tokens=None)

    verdict = judged(attested.observed(), bare)

    for check in (
        *(Check.TA_FILES, Check.STORAGE_KEPT, Check.STORAGE_FRESH, Check.LISTENING_PORTS),
    ):
        assert verdict[check].outcome is Outcome.UNKNOWN


@pytest.mark.fault(
    "TEE storage",
    "the TEE made a new storage, without a word or after one refusal",
    comes="attest --pin refuses, status 7: storage-kept, a token that was there when it was"
    " pinned is gone; without a pin the check is unknown, never good",
    then="stop and look: its keys are lost. Pin what attest --json shows of a box when it is made",
    case="F-21",
)
def test_a_storage_without_what_was_pinned_in_it_is_refused_though_it_reads_without_error() -> None:
    verdict = judged(replace(attested.observed(), tokens=()))

    assert verdict[Check.STORAGE].outcome is Outcome.PASS
    assert verdict[Check.STORAGE_KEPT].outcome is Outcome.FAIL
    assert not verdict.ok


def test_a_pin_of_a_time_without_tokens_is_no_witness() -> None:
    verdict = judged(attested.observed(), replace(attested.policy(), tokens=()))

    assert verdict[Check.STORAGE_KEPT].outcome is Outcome.UNKNOWN


def test_tokens_that_could_not_be_asked_for_do_not_pass() -> None:
    verdict = judged(replace(attested.observed(), tokens=None))

    assert verdict[Check.STORAGE_KEPT].outcome is Outcome.ABSENT
    assert not verdict.ok


def test_a_tolerated_failure_is_shown_and_does_not_refuse() -> None:
    lenient = replace(attested.policy(), tolerate=frozenset({Check.DEFAULT_PASSWORDS}))

    verdict = judged(replace(attested.observed(), passwords={"root": "empty"}), lenient)

    assert verdict[Check.DEFAULT_PASSWORDS].outcome is Outcome.FAIL
    assert verdict.ok


@pytest.mark.parametrize("check", [Check.TEE_MEMORY, Check.KEY, Check.ENCLAVE_MEMORY])
def test_a_measurement_cannot_be_tolerated(check: Check) -> None:
    with pytest.raises(Misuse, match=check.value):
        Policy(nonce=bytes(32), tee_memory=None, tolerate=frozenset({check}))


@pytest.mark.parametrize(
    "storage", [None, TeeAnswer(TeeCode.SECURITY, 3), TeeAnswer(TeeCode.CORRUPT_OBJECT, 3)]
)
def test_with_spoilt_storage_nothing_tells_whether_signatures_are_looked_at(
    storage: TeeAnswer | None,
) -> None:
    verdict = judged(replace(attested.observed(), storage=storage))

    assert verdict[Check.LOAD_ENFORCEMENT].outcome is Outcome.ABSENT


def test_an_enclave_that_the_tee_refused_fails_with_the_code_and_nothing_else_does() -> None:
    evidence = replace(attested.evidence(), enclave=EnclaveEvidence(attested.ENCLAVE, None, None))
    observed = replace(attested.observed(), enclave=TeeAnswer(TeeCode.BAD_FORMAT, 3))

    verdict = verify(evidence, attested.policy(), observed)

    assert {f.check for f in verdict.refusals} == {
        Check.ENCLAVE_MEMORY_SIGNATURE,
        Check.ENCLAVE_MEMORY,
        Check.ENCLAVE_IDENTITY_SIGNATURE,
        Check.ENCLAVE_IDENTITY,
    }
    assert verdict[Check.ENCLAVE_MEMORY].outcome is Outcome.FAIL
    assert "0xffff0005" in verdict[Check.ENCLAVE_MEMORY].why


@pytest.mark.parametrize(
    ("code", "origin", "storage"),
    [
        (TeeCode.CORRUPT_OBJECT, 4, True),
        (TeeCode.STORAGE_NOT_AVAILABLE, 3, True),
        (TeeCode.SECURITY, 4, True),
        (TeeCode.SECURITY, 3, False),
        (TeeCode.BAD_FORMAT, 3, False),
        (TeeCode.TARGET_DEAD, 3, False),
    ],
)
def test_a_refusal_is_about_storage_only_where_its_code_says_so(
    code: TeeCode, origin: int, storage: bool
) -> None:
    assert of_storage(TeeRefused("opening", code, origin)) is storage


def test_without_evidence_every_check_of_it_is_absent() -> None:
    verdict = verify(None, attested.policy(), attested.observed())

    absent = {f.check for f in verdict.findings if f.outcome is Outcome.ABSENT}
    assert absent == set(Check) - set(OF_OBSERVED)
    assert not verdict.ok


def test_what_was_seen_comes_back_from_json_as_it_was() -> None:
    text = json.dumps(attested.observed().to_dict())

    assert Observed.from_dict(json.loads(text)) == attested.observed()
    assert Observed.from_dict(json.loads(json.dumps(Observed().to_dict()))) == Observed()


def test_a_group_that_the_policy_names_may_open_the_tee() -> None:
    theirs = replace(attested.policy(), tee_groups=frozenset({"teeclnt"}))
    devices = (DeviceNode("/dev/tee0", 0o660, 0, 1, "teeclnt"),)

    assert judged(replace(attested.observed(), tee_devices=devices), theirs).ok
    assert not judged(attested.observed(), theirs).ok


def test_what_was_kept_before_a_field_was_there_is_still_read() -> None:
    kept = attested.observed().to_dict()
    del kept["odd_files"], kept["more_ports"], kept["enclave"]

    assert Observed.from_dict(json.loads(json.dumps(kept))) == attested.observed()


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_another_json_is_refused_or_read_and_never_crashes(data: st.DataObject) -> None:
    text = bytearray(json.dumps(attested.observed().to_dict()).encode())
    bit = data.draw(st.integers(0, len(text) * 8 - 1))
    text[bit // 8] ^= 1 << bit % 8
    try:
        found = Observed.from_dict(json.loads(text.decode("latin-1")))
    except (BadInput, ValueError):
        return

    verify(attested.evidence(), attested.policy(), found)
