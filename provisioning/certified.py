"""What a box was certified for before, and what it must then still have: its token, with that key.

A box that has lost it was wiped, has another disk, or keeps the TEE's storage in RAM. It gets no
second identity in silence: a person looks, and says which certificate the new key replaces.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.errors import IntegrityFailure, Misuse
from harness.target import EvidenceLevel
from provisioning.authority_index import Index
from provisioning.authority_open import StationCa
from provisioning.authority_state import Stage, lost, remains, require_set_up, stage
from provisioning.enrolling import is_ours, judge_of, serving_path
from provisioning.record import value
from provisioning.token_public import KeyPair
from provisioning.work import Work


@dataclass(frozen=True, slots=True)
class Certified:
    """A certificate that counts: neither revoked, nor superseded, nor over. ``spki``: SHA-256 of
    its key, hexadecimal; ``told_by``: who has it, for people.
    """

    number: int
    spki: str
    told_by: str

    def __str__(self) -> str:
        return f"certificate {self.number:x}, by {self.told_by}"


def certified_before(work: Work) -> tuple[Certified, ...]:
    """The box's certificates that count, by the CA's index and by the record, newest first.

    Opens no token. Raises Misuse when the CA's index is lost or not the newest.
    """
    index = _index(work) if is_ours(work.plan) else None
    found: list[Certified] = []
    if index is not None:
        found = [
            Certified(entry.number, entry.spki, "the CA's index")
            for entry in index.of_device(work.box.target.serial)
            if entry.good
        ]
    recorded = _recorded(work)
    known = recorded is not None and index is not None and index.get(recorded.number) is not None
    if recorded is not None and not known:
        found.append(recorded)  # another CA's: nobody here knows whether it was revoked
    return tuple(found)


def judge_token(work: Work, by: Deadline) -> str:
    """What is there of an earlier identity, in a sentence. Raises IntegrityFailure when the box was
    certified and its token is blank, Misuse when the plan names another token than the box's, or
    ``--replace`` another certificate. Needs no PIN.
    """
    before, serial, label = certified_before(work), work.box.target.serial, work.plan.token_label
    _check_replaced(work, before)
    if not before:
        return f"{serial} had no certificate that counts before this run"
    state = work.box.keys.state(label, by=by)
    if state is not None and state.has_user_pin:
        anew = f"; there is no record in {work.directory}: it and its pins are made anew"
        return f"{serial} has {before[0]}, and its token is there{'' if work.earlier else anew}"
    if work.replaces is not None:
        return f"{serial} gets another key, which replaces {work.replaces:x}"
    slots = work.box.keys.tokens(by=by)
    there = sorted({slot.label for slot in slots if slot.initialised and slot.has_user_pin})
    was = value(work.earlier, "token", "label")
    if was != label and was in there:
        raise Misuse(
            f"the plan's token is {label!r}, and {serial} was certified with its key in the token"
            f" {was!r}, which is there ({before[0]})",
            hint=f'Correct the plan: [token] label = "{was}". {_meant(before)}',
        )
    others = f" (initialised are: {', '.join(map(repr, there))})" if there else ""
    raise IntegrityFailure(
        f"the token {label!r} of {serial} is blank{others}, although {serial} was certified"
        f" ({before[0]}): it was wiped, it is on another disk, or the TEE's storage is in RAM",
        hint="Nothing was made on the box. Look where its storage is (trustbox attest), and bring"
        f" back its disk. {_meant(before)}",
    )


def judge_key(work: Work, key: KeyPair | None, by: Deadline) -> None:
    """As ``judge_token``, once the token is open: ``key`` is what it has for the plan's purpose."""
    before, serial, purpose = certified_before(work), work.box.target.serial, work.plan.key_purpose
    if not before:
        return
    mine = [one for one in before if key is not None and one.spki == key.spki_sha256]
    if work.replaces is not None:
        if any(one.number == work.replaces for one in mine):
            raise Misuse(
                f"{serial} has the key of certificate {work.replaces:x}: nothing is to be replaced",
                hint="Leave out --replace. For another key beside it: trustbox keys rotate.",
            )
        return
    if mine or (key is not None and _is_anothers(work, key, by)):
        return
    if (elsewhere := _elsewhere(work, {one.spki for one in before}, by)) is not None:
        raise Misuse(
            f"the plan's device key is {purpose!r}, and {serial} was certified for its key"
            f" {elsewhere.label!r}, which is in the token ({before[0]})",
            hint=f'Correct the plan: [key] purpose = "{elsewhere.label}". {_meant(before)}',
        )
    what = "holds no key" if key is None else f"holds another key ({key.spki_sha256[:16]}…)"
    raise IntegrityFailure(
        f"the token of {serial} {what} for {purpose!r}, although {serial} was certified"
        f" ({before[0]}): it was wiped, or it is another box's",
        hint=f"Nothing was made on the box. Look at what is there: trustbox keys list."
        f" {_meant(before)}",
    )


def may_make_ca(work: Work, by: Deadline) -> bool:
    """Whether the station may make a CA by itself, as far as the box tells: an emulator's, which
    nobody certified before. Raises Misuse where there is none and none may be made: for hardware,
    where one was lost, beside the CA that certified the box.
    """
    files = StationCa(work.station.state).files
    found, functional = stage(files), EvidenceLevel.FUNCTIONAL
    if work.box.target.evidence_level is not functional:
        require_set_up(files)
        return False
    if found is not Stage.NONE:
        return True
    if left := remains(work.station.state):
        raise lost(files, left)
    there = work.box.identity.chain(by=by)
    if there or value(work.earlier, "certificate", "serial") is not None:
        issuer = there[0].issuer.rfc4514_string() if there else "the CA of its record"
        raise Misuse(
            f"{work.box.target.serial} was certified by {issuer}, and this station has no CA: none"
            " is made by itself beside it",
            hint="Is --state right? If the box is to be certified anew: trustbox ca init sets up a"
            " CA.",
        )
    return True


def _meant(before: tuple[Certified, ...]) -> str:
    return (
        "If the box is to get another key all the same (a repair, a new board), say which"
        f" certificate that one replaces: the same command with --replace {before[0].number:x}"
    )


def _check_replaced(work: Work, before: tuple[Certified, ...]) -> None:
    if work.replaces is None or any(one.number == work.replaces for one in before):
        return
    index = _index(work) if is_ours(work.plan) else None
    entry = index.get(work.replaces) if index is not None else None
    serial = work.box.target.serial
    if entry is not None and entry.device.lower() == serial.lower():
        return  # an earlier run with this word has done it
    told = ", ".join(f"{one.number:x}" for one in before) or "none"
    raise Misuse(
        f"--replace {work.replaces:x}: that is no certificate of {serial}; those that count: {told}"
    )


def _index(work: Work) -> Index | None:
    """None where the station has no CA. That none was lost is ``may_make_ca``'s to say."""
    files = StationCa(work.station.state).files
    return files.index if stage(files) is Stage.SET_UP else None


def _recorded(work: Work) -> Certified | None:
    number = value(work.earlier, "certificate", "serial")
    spki = value(work.earlier, "key", "spki_sha256")
    until = value(work.earlier, "certificate", "not_after")
    try:
        over = datetime.datetime.fromisoformat(str(until)) <= datetime.datetime.now(datetime.UTC)
        read = int(str(number), 16)
    except (ValueError, TypeError):
        return None  # a record without a certificate
    return None if over else Certified(read, str(spki), "the record")


def _is_anothers(work: Work, key: KeyPair, by: Deadline) -> bool:
    """Whether the box shows a certificate of the plan's own CA for it: whoever rotated the key had
    it certified there, and the record is behind.
    """
    if is_ours(work.plan):
        return False  # the index would know
    chain = work.box.identity.chain(by=by)
    work.key = key
    return bool(chain) and serving_path(work, chain, judge_of(work)) is not None


def _elsewhere(work: Work, spkis: set[str], by: Deadline) -> KeyPair | None:
    """A certified key that the token has for another purpose."""
    token = work.box.keys.token
    for kind, _, id in token.objects(by=by):
        found = token.find(id, by=by) if kind == "private" else None
        if found is not None and found.spki_sha256 in spkis:
            return found
    return None
