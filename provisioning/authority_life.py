"""What becomes of a box's certificate after it was issued, as the CA's index has it.

::

    begun ─signed→ unfinished ─read back from the box→ active ─newer one read back→ superseded
                       │                                  │
                       └────────── to revoke ─────────────┴── revoked

The caller of what writes holds the CA's lock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness.errors import DeviceRefused
from provisioning.authority_entry import SUPERSEDED, Entry
from provisioning.authority_index import Index
from provisioning.authority_policy import DEVICE
from provisioning.authority_reasons import revoke_rows
from provisioning.authority_rules import replaced_by


def fingerprint(of: x509.Certificate) -> str:
    """SHA-256 of its key (SubjectPublicKeyInfo), hexadecimal, as the index has it."""
    found = of.public_key()
    octets = found.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(octets).hexdigest()


def entry_of(index: Index, number: int) -> Entry:
    """Raises DeviceRefused unless it is a box's."""
    entry = index.get(number)
    if entry is None or entry.role != DEVICE.role:
        raise DeviceRefused(f"this CA issued no certificate {number:x} to a box")
    return entry


def knows(index: Index, found: x509.Certificate) -> bool:
    """Whether it was issued to a box: the index has the number, with just these octets."""
    entry = index.get(found.serial_number)
    return entry is not None and entry.role == DEVICE.role and entry.certificate == found


def is_revoked(index: Index, found: x509.Certificate, issuing: x509.Certificate) -> bool:
    """Whether it was, or its key with another certificate, or the issuing CA's key with all that
    it signed.
    """
    if any(entry.revoked for entry in index.of_key(fingerprint(issuing))):
        return True
    mine = index.get(found.serial_number)
    if mine is not None and mine.revoked is not None:
        return True
    return any(entry.key_is_bad for entry in index.of_key(fingerprint(found)))


def before(index: Index, mine: Entry) -> tuple[Entry, ...]:
    """What the box had before ``mine`` and has no more now that it shows ``mine``: of the same
    key, of the key that it replaces, and what it never showed. Newest first.

    An active one of another key that was not replaced is none of these: one of both is somebody's
    to revoke.
    """
    replaced = {entry.number for entry in replaced_by(index, mine)}
    there = index.of_device(mine.device)
    older = there[[entry.number for entry in there].index(mine.number) + 1 :]
    return tuple(
        entry
        for entry in older
        if entry.status == "unfinished"
        or (entry.status == "active" and (entry.spki == mine.spki or entry.number in replaced))
    )


def is_read_back(index: Index, mine: Entry) -> None:
    """``mine`` is active; what the box had before is superseded, or to be revoked when it is of
    another key and no box ever showed it.
    """
    index.mark_read_back(mine.number)
    for entry in before(index, mine):
        if entry.status == "active" or entry.spki == mine.spki:
            index.mark_superseded(entry.number)
        else:
            why = f"never read back from the box, which has {mine.number:x}"
            index.mark_to_revoke(entry.number, why)


def put_on_list(index: Index, number: int, why: str) -> Entry:
    """It is to be revoked, for ``why``; unless it was, or is on the list already."""
    if entry_of(index, number).revoked is None:
        index.mark_to_revoke(number, why)
    return entry_of(index, number)


def revoke_keys(index: Index, numbers: Iterable[int], reason: str) -> tuple[Entry, ...]:
    """Revoke these, and unless the reason is ``superseded`` all of their keys; what was changed."""
    rows = {number: entry_of(index, number) for number in numbers}
    if reason != SUPERSEDED:
        for key in {entry.spki for entry in rows.values() if entry.spki}:
            rows |= {entry.number: entry for entry in index.of_key(key)}
    return revoke_rows(index, rows.values(), reason, datetime.now(UTC))


def give_up(index: Index, number: int, *, by: Entry) -> None:
    """The key of certificate ``number`` was replaced: what of it no box ever showed is to be
    revoked, the rest stays until ``by`` is read back.
    """
    for entry in index.of_key(entry_of(index, number).spki):
        if entry.status == "unfinished" and entry.spki != by.spki:
            why = f"{by.number:x} took its place before it was read back"
            index.mark_to_revoke(entry.number, why)
