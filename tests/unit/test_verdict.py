"""``verify`` accepts what is right, refuses everything else, and says what it could not check."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BadInput, IntegrityFailure
from harness.target import EvidenceLevel
from provisioning.evidence import EnclaveEvidence, Evidence, Signed
from provisioning.policy import ALWAYS, Check, Policy
from provisioning.verdict import ZERO_HUK_UUID, Outcome, Verdict, verify
from tests.unit import attested
from tests.unit.mutations import mutated

pytestmark = pytest.mark.integrity


def judged(evidence: Evidence | None, policy: Policy | None = None) -> Verdict:
    """With everything seen of the box that could be wished for."""
    return verify(evidence, policy or attested.policy(), attested.observed())


def enclave_evidence() -> EnclaveEvidence:
    enclave = attested.evidence().enclave
    assert enclave is not None
    return enclave


def test_right_evidence_passes_every_check() -> None:
    verdict = judged(attested.evidence())

    assert {finding.outcome for finding in verdict.findings} == {Outcome.PASS}
    assert verdict.ok


def test_every_check_is_in_every_verdict() -> None:
    bare = replace(attested.evidence(), enclave=None, tee_uuid=None)

    verdict = verify(bare, Policy(nonce=b"another nonce...", tee_memory=None))

    assert [finding.check for finding in verdict.findings] == list(Check)


@pytest.mark.case("N-21", "N-29", expect="the verifier refuses")
@pytest.mark.parametrize(
    ("change", "check"),
    [
        pytest.param({"nonce": bytes(32)}, Check.NONCE, id="old nonce"),
        pytest.param({"level": EvidenceLevel.HARDWARE}, Check.LEVEL, id="level"),
        pytest.param({"algorithm": 0x70004830}, Check.ALGORITHM, id="algorithm"),
        pytest.param({"key": attested.public_key(1)}, Check.KEY, id="another key"),
        pytest.param(
            {"tee_memory": attested.signed(bytes(32))}, Check.TEE_MEMORY, id="another core"
        ),
        pytest.param(
            {"tee_memory": attested.signed(attested.TEE_MEMORY, which=1)},
            Check.TEE_SIGNATURE,
            id="signed by another key",
        ),
        pytest.param(
            {"tee_memory": attested.signed(attested.TEE_MEMORY, nonce=bytes(32))},
            Check.TEE_SIGNATURE,
            id="signed with another nonce",
        ),
        pytest.param(
            {
                "tee_memory": attested.signed_with(
                    PKCS1v15(), attested.TEE_MEMORY, attested.NONCE, 0
                )
            },
            Check.TEE_SIGNATURE,
            id="PKCS#1 v1.5 instead of PSS",
        ),
        pytest.param({"tee_uuid": ZERO_HUK_UUID}, Check.HUK, id="zero HUK"),
    ],
)
def test_wrong_evidence_fails_the_check_that_is_for_it(
    change: dict[str, object], check: Check
) -> None:
    verdict = judged(replace(attested.evidence(), **change))  # type: ignore[arg-type]

    assert verdict[check].outcome is Outcome.FAIL
    assert not verdict.ok


def test_an_enclave_with_other_code_fails() -> None:
    other = replace(enclave_evidence(), memory=attested.signed(bytes(32)))

    verdict = judged(replace(attested.evidence(), enclave=other))

    assert verdict[Check.ENCLAVE_MEMORY].outcome is Outcome.FAIL
    assert verdict[Check.ENCLAVE_MEMORY_SIGNATURE].outcome is Outcome.PASS
    assert not verdict.ok


def test_evidence_about_another_enclave_fails() -> None:
    other = replace(enclave_evidence(), uuid=ZERO_HUK_UUID)

    verdict = judged(replace(attested.evidence(), enclave=other))

    assert verdict[Check.ENCLAVE_IDENTITY].outcome is Outcome.FAIL


def test_what_is_required_and_absent_is_refused() -> None:
    verdict = judged(replace(attested.evidence(), enclave=None))

    assert verdict[Check.ENCLAVE_MEMORY].outcome is Outcome.ABSENT
    assert not verdict.ok


def test_without_a_pinned_key_the_key_is_unknown_and_may_do() -> None:
    verdict = judged(attested.evidence(), replace(attested.policy(), key=None))

    assert verdict[Check.KEY].outcome is Outcome.UNKNOWN
    assert verdict.ok


def test_without_a_pinned_key_a_policy_that_requires_it_refuses() -> None:
    policy = replace(attested.policy(), key=None, require=frozenset({Check.KEY}))

    assert not verify(attested.evidence(), policy).ok


def test_without_a_golden_value_nothing_is_ok() -> None:
    verdict = verify(attested.evidence(), replace(attested.policy(), tee_memory=None))

    assert verdict[Check.TEE_MEMORY].outcome is Outcome.UNKNOWN
    assert not verdict.ok


def test_a_refusal_names_every_check_it_is_for() -> None:
    wrong = replace(
        attested.evidence(), nonce=bytes(32), tee_memory=attested.signed(bytes(32), which=1)
    )

    with pytest.raises(IntegrityFailure) as caught:
        judged(wrong).demand()

    named = {check for check in Check if f"{check.value}: fail" in str(caught.value)}
    assert named >= {Check.NONCE, Check.TEE_SIGNATURE, Check.TEE_MEMORY}


def test_a_good_verdict_demands_nothing() -> None:
    judged(attested.evidence()).demand()


def test_only_passed_checks_count_as_passed() -> None:
    """Whatever the policy says, an ok verdict has a pass for each required check."""
    assert judged(attested.evidence()).ok
    assert attested.policy().required >= ALWAYS


def test_evidence_comes_back_from_json_as_it_was() -> None:
    assert Evidence.from_json(attested.evidence().to_json()) == attested.evidence()


def test_evidence_without_enclave_and_uuid_comes_back_from_json() -> None:
    bare = replace(attested.evidence(), enclave=None, tee_uuid=None)

    assert Evidence.from_json(bare.to_json()) == bare


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("[]", id="a list"),
        pytest.param("{}", id="no keys"),
        pytest.param("[" * 60_000, id="deep"),
        pytest.param(" " * 70_000, id="long"),
        pytest.param('{"format":NaN}', id="NaN"),
        pytest.param('{"nonce":"00","nonce":"01"}', id="a key twice"),
        pytest.param(
            attested.evidence().to_json().replace('"algorithm":', '"algorithm":true,"x":'),
            id="unknown key",
        ),
        pytest.param(attested.evidence().to_json().replace(":65537", ":3"), id="exponent 3"),
        pytest.param("\t" + attested.evidence().to_json(), id="another form"),
        pytest.param(
            attested.evidence().to_json().replace("evidence-1", "evidence-2"), id="format"
        ),
        pytest.param(attested.evidence().to_json().replace("functional", "fictional"), id="level"),
    ],
)
def test_what_is_no_evidence_is_refused_with_the_key_that_is_wrong(text: str) -> None:
    with pytest.raises(BadInput):
        Evidence.from_json(text)


@pytest.mark.parametrize("size", [0, 15, 65])
def test_a_nonce_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(BadInput):
        replace(attested.evidence(), nonce=bytes(size))


def test_a_short_digest_is_refused() -> None:
    with pytest.raises(BadInput):
        Signed(bytes(31), bytes(256))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_one_flipped_bit_of_evidence_is_refused_and_never_crashes(data: st.DataObject) -> None:
    text = bytearray(attested.evidence().to_json().encode())
    bit = data.draw(st.integers(0, len(text) * 8 - 1))
    text[bit // 8] ^= 1 << bit % 8

    assert not accepted(text.decode("latin-1"))


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=300))
def test_text_that_is_no_evidence_is_refused_and_never_crashes(text: str) -> None:
    assert not accepted(text)


def accepted(text: str) -> bool:
    try:
        return judged(Evidence.from_json(text)).ok
    except BadInput:
        return False


@pytest.mark.long
@pytest.mark.timeout(1800)
@settings(max_examples=10_000, deadline=None, database=None)
@given(st.data())
def test_ten_thousand_mutated_evidences_are_refused_and_none_crashes(data: st.DataObject) -> None:
    changed = mutated(data, attested.evidence().to_json().encode())

    assert not accepted(changed.decode("latin-1"))
