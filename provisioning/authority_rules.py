"""Which key of which box the CA may certify, as its index has it.

- A key belongs to one box for good, and a revoked one gets nothing any more.
- One serial number, whatever the case of its letters, has one good key. Another key takes its place
  only when whoever asks says which certificate it replaces. Until the new certificate was read
  back from the box both are good.
"""

from __future__ import annotations

from harness.errors import DeviceRefused, IntegrityFailure
from provisioning.authority_entry import Entry
from provisioning.authority_index import Index
from provisioning.authority_policy import DEVICE


def may_have(
    index: Index, spki: str, serial: str, *, replaces: int | None = None
) -> tuple[Entry, ...]:
    """The key's certificates that are good or superseded, newest first, if it may have another.

    Raises IntegrityFailure when the key is a CA's or another box's; DeviceRefused when it was
    revoked or is to be, when the serial number is written otherwise, or has another good key that
    ``replaces`` does not name.
    """
    earlier = index.of_key(spki)
    for entry in earlier:
        _refuse(entry, serial)
    good = [entry for entry in index.of_device(serial) if entry.good]
    for entry in good:
        if entry.device != serial:
            raise DeviceRefused(
                f"{serial} is {entry.device} here ({entry.number:x}): the case of letters makes no"
                " other serial number",
                hint="Write it as it stands on the label; if that is the other one, revoke"
                f" {entry.number:x} first.",
            )
    given_up = {entry.spki for entry in _replaced(index, serial, replaces, earlier)}
    others = [entry for entry in good if entry.spki not in given_up | {spki}]
    if others:
        raise DeviceRefused(
            f"{serial} has a certificate for another key ({others[0].number:x})",
            hint="If the box has a new key, say that it replaces this one:"
            f" --replaces {others[0].number:x}. If it has not, somebody else asks in its name."
            if len({entry.spki for entry in others}) == 1
            else "It has several, of several keys: revoke those that the box does not have"
            f" (trustbox ca show --device {serial}).",
        )
    return tuple(entry for entry in earlier if entry.revoked is None)


def against_the_rules(index: Index) -> tuple[Entry, ...]:
    """The good certificates of boxes that get no other one, because what they have breaks a rule
    (from before there was one): of several keys, or for a serial number written in several ways.
    """
    found: list[Entry] = []
    for serial in index.twice():
        good = [entry for entry in index.of_device(serial) if entry.good]
        try:
            may_have(index, good[0].spki if good else "", good[0].device if good else serial)
        except DeviceRefused:
            found += good
    return tuple(found)


def replaced_by(index: Index, made: Entry) -> tuple[Entry, ...]:
    """The certificates of other keys that ``made`` takes the place of, newest first."""
    return tuple(
        entry
        for entry in _replaced(index, made.device, made.replaces, ())
        if entry.spki != made.spki and entry.revoked is None
    )


def _refuse(entry: Entry, serial: str) -> None:
    if entry.role != DEVICE.role:
        raise IntegrityFailure(f"the request for {serial} is for the CA's own key")
    if entry.device.lower() != serial.lower():
        raise IntegrityFailure(
            f"the key of {serial} is certified for {entry.device}: two boxes have one key"
        )
    if entry.key_is_bad:
        raise DeviceRefused(
            f"the key of {serial} was revoked ({entry.reason})",
            hint="Make a new key on the box; this one gets no certificate any more.",
        )
    if entry.status == "to revoke":
        raise DeviceRefused(
            f"the key of {serial} has a certificate that is to be revoked ({entry.number:x}:"
            f" {entry.to_revoke})",
            hint="trustbox ca revoke --pending does; with --reason superseded if the key itself is"
            " still good, and then it gets another certificate.",
        )


def _replaced(
    index: Index, serial: str, replaces: int | None, earlier: tuple[Entry, ...]
) -> list[Entry]:
    """Every certificate of the keys that are given up: by this request, and by those before."""
    open_ = {entry.replaces for entry in earlier if entry.good} | {replaces}
    found: dict[int, Entry] = {}
    while numbers := [number for number in open_ if number is not None and number not in found]:
        named = index.get(numbers[0])
        if named is None or named.role != DEVICE.role or named.device.lower() != serial.lower():
            raise DeviceRefused(
                f"{numbers[0]:x} is no certificate of {serial}: it cannot be what is replaced",
                hint=f"trustbox ca show --device {serial} lists those that are.",
            )
        for entry in index.of_key(named.spki):
            found[entry.number] = entry
            open_.add(entry.replaces)  # what it was going to replace is given up with it
    return list(found.values())
