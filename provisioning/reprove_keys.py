"""The plan's other keys, proved again: each the very key that the record has evidence of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.deadline import Deadline
from harness.errors import IntegrityFailure
from provisioning.key_evidence import KeyEvidence
from provisioning.record import value
from provisioning.token_secrets import SecretProfile
from provisioning.work import Work


def keys(work: Work, by: Deadline) -> str:
    """Found by its CKA_ID, the same public key (or check value), attributes and verdict."""
    code, told, wrong = work.box.keys.code(by=by), list[str](), list[str]()
    for purpose, profile in work.plan.keys.items():
        claimed = value(work.earlier, "keys", purpose)
        token, id = work.box.keys.token, _id(claimed)
        secret = isinstance(profile, SecretProfile)
        key = token.find_secret(id, by=by) if secret else token.find(id, by=by)
        if key is None or not isinstance(claimed, dict):
            wrong.append(f"the token holds no key {purpose} of CKA_ID {id.hex() or '-'}")
            continue
        found = work.box.keys.evidence(key, code=code, by=by)
        wrong += [f"key {purpose}: {fault}" for fault in _faults(found, claimed)]
        told.append(f"{purpose} ({key.profile.value}{_weakly(claimed, secret)})")
    if wrong:
        raise IntegrityFailure("; ".join(wrong))
    return f"{', '.join(told)}: as recorded, and made inside"


def _id(claimed: object) -> bytes:
    """The CKA_ID that the record has; empty where it has none."""
    told = claimed.get("cka_id") if isinstance(claimed, dict) else None
    try:
        return bytes.fromhex(str(told or ""))
    except ValueError:
        return b""


def _faults(found: KeyEvidence, claimed: Mapping[str, object]) -> Iterator[str]:
    now = found.to_dict()
    yield from found.faults()
    for name, what in (
        ("profile", "its profile"),
        ("verdict", "its verdict"),
        ("asserted.spki_sha256", "its public key"),
        ("asserted.attributes", "what the token asserts of it"),
        ("observed.check_value", "its check value"),
    ):
        before, there = _told(claimed, name), _told(now, name)
        if name == "observed.check_value" and before is None:
            continue  # told by _weakly
        if there != before:
            yield f"{what} is {there or 'nowhere'}, and the record has {before or 'none'}"


def _weakly(claimed: Mapping[str, object], secret: bool) -> str:
    """A record of an earlier version does not say which secret key it was."""
    if secret and _told(claimed, "observed.check_value") is None:
        return ", of which the record has no check value: it may be another one"
    return ""


def _told(evidence: Mapping[str, object], name: str) -> object:
    part: object = evidence
    for word in name.split("."):
        part = part.get(word) if isinstance(part, dict) else None
    return part
