"""What a key is worth: made inside, imported or extractable, told apart by every module's token."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import DeviceRefused, Misuse
from provisioning.key_report import key_report
from provisioning.key_verdict import KeyVerdict
from provisioning.keys import KeySession
from provisioning.token_template import STRICT, TOKENS_OWN
from tests.device.key_parts import READABLE, WRAPPABLE

pytestmark = pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE, Capability.RESTORE)


def test_good_imported_and_extractable_key_get_three_verdicts(
    held_keys: KeySession, by: Deadline
) -> None:
    held_keys.generate("good", by=by)
    foreign = ec.generate_private_key(ec.SECP256R1())
    held_keys.token.import_ec(b"from outside", "imported", foreign, template=STRICT, by=by)
    held_keys.token.ensure(b"may leave", "extractable", templates=(WRAPPABLE,), by=by)

    report = key_report(held_keys, by=by)

    told = json.loads(json.dumps(report.to_dict()))
    verdicts = {key["label"]: key["verdict"] for key in told["keys"]}
    reasons = {key["label"]: key["reasons"] for key in told["keys"]}
    assert verdicts == {
        "good": "made-inside",
        "imported": "imported",
        "extractable": "extractable",
    }
    assert reasons["good"] == []
    assert "LOCAL = False" in reasons["imported"][0]["text"]
    assert any("EXTRACTABLE = True" in reason["text"] for reason in reasons["extractable"])
    assert report.bad() == ("extractable (extractable)", "imported (imported)")
    assert report.bad([KeyVerdict.IMPORTED]) == ("extractable (extractable)",)


def test_evidence_of_a_good_key_tells_asserted_and_observed_apart(
    held_keys: KeySession, by: Deadline
) -> None:
    key, _ = held_keys.generate("device", by=by)

    evidence = held_keys.evidence(key, by=by)

    assert evidence.faults() == ()
    assert {probe.tried.partition(" with ")[0]: probe.answer for probe in evidence.probes} == {
        "reading CKA_VALUE": "CKR_ATTRIBUTE_SENSITIVE",
        "C_WrapKey": "CKR_KEY_UNEXTRACTABLE",
        "setting CKA_EXTRACTABLE of a key made like it": "CKR_ACTION_PROHIBITED",
        "importing a key that claims CKA_LOCAL": evidence.probes[3].answer,
    }
    assert all(probe.refused and probe.ran for probe in evidence.probes)
    assert len(evidence.module_sha256) == 64
    assert evidence.answered


def test_value_that_the_token_shows_is_an_observation(held_keys: KeySession, by: Deadline) -> None:
    key, _ = held_keys.token.ensure(b"id", "k", templates=(READABLE,), by=by)

    evidence = held_keys.evidence(key, by=by)

    assert evidence.verdict is KeyVerdict.EXTRACTABLE
    assert [r.known for r in evidence.reasons if r.text.startswith("reading CKA_VALUE")] == [
        "observed"
    ]


def test_key_that_the_token_was_not_told_to_hide_is_not_called_good(
    held_keys: KeySession, by: Deadline
) -> None:
    key, _ = held_keys.token.ensure(b"id", "k", templates=(TOKENS_OWN,), by=by)

    evidence = held_keys.evidence(key, by=by)

    assert evidence.verdict is KeyVerdict.EXTRACTABLE
    assert "the token asserts SENSITIVE = False, expected True" in evidence.faults()


def test_secret_key_made_in_the_token_is_made_inside(held_keys: KeySession, by: Deadline) -> None:
    key, new = held_keys.generate_secret("storage", by=by)

    evidence = held_keys.evidence(key, by=by)

    assert (new, key.template, evidence.verdict) == (True, "strict", KeyVerdict.MADE_INSIDE)
    assert evidence.answered
    assert held_keys.generate_secret("storage", by=by) == (key, False)


def test_secret_key_that_may_leave_is_extractable(held_keys: KeySession, by: Deadline) -> None:
    key, _ = held_keys.token.ensure_secret(b"id", "k", templates=(WRAPPABLE,), by=by)

    assert held_keys.evidence(key, by=by).verdict is KeyVerdict.EXTRACTABLE


def test_orphan_is_reported_for_quarantine(held_keys: KeySession, by: Deadline) -> None:
    orphan, _ = held_keys.generate("device", by=by)
    held_keys.token.destroy("private", orphan.id, by=by)

    report = key_report(held_keys, by=by)

    assert report.bad() == ("device (quarantine)",)
    assert report.broken[0].trouble == "a public key without its private one"


def test_name_that_no_key_has_is_said_with_those_there_are(
    held_keys: KeySession, by: Deadline
) -> None:
    held_keys.generate("device", by=by)

    with pytest.raises(Misuse, match=r"no key 'devcie'; it has: device"):
        key_report(held_keys, ["devcie"], by=by)


def test_evidence_of_an_erased_key_is_refused(held_keys: KeySession, by: Deadline) -> None:
    key, _ = held_keys.generate("device", by=by)
    held_keys.erase(key, by=by)

    with pytest.raises(DeviceRefused):
        held_keys.evidence(key, by=by)
