"""A new generation of a key: made beside the old one, which stays until the new one is certified.

::

    n in use → rotate: n+1 made and proven, n stays → a certificate of n+1 is in → retire: n erased

Each part looks at the token first, so running it again goes on. Which generations there are is told
by the token alone: CKA_ID is a hash of serial number, purpose and generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.errors import IntegrityFailure, Misuse
from provisioning.keys import KeySession
from provisioning.token import KeyPair
from provisioning.token_public import KeyProfile

MOST_GENERATIONS = 64


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of a key that the token holds; ``certified``: with a certificate object."""

    number: int
    key: KeyPair
    certified: bool


def generations(keys: KeySession, purpose: str, *, by: Deadline) -> tuple[Generation, ...]:
    """Those in the token, oldest first. Raises DeviceRefused where one is not one whole pair."""
    there = {id for kind, _, id in keys.token.objects(by=by) if kind == "private"}
    found = []
    for number in range(1, MOST_GENERATIONS + 1):
        if keys.id_of(purpose, number) not in there:
            continue
        key = keys.find(purpose, generation=number, by=by)
        if key is not None:
            found.append(Generation(number, key, bool(keys.certificates(key, by=by))))
    return tuple(found)


def in_use(there: Sequence[Generation]) -> KeyPair | None:
    """The newest certified one; without any certificate the oldest: what comes after it is being
    made.
    """
    certified = [one.key for one in there if one.certified]
    return certified[-1] if certified else next((one.key for one in there), None)


def rotate(
    keys: KeySession, purpose: str, profile: KeyProfile | None = None, *, by: Deadline
) -> tuple[Generation, Generation]:
    """The generation in use, and the next one, made if it is not there yet (of the same profile
    unless another one is named). Certify and install the next, then ``retire`` the old one.

    Raises Misuse when there is nothing to rotate, IntegrityFailure when the new key is not what it
    must be: it is erased again then.
    """
    there = generations(keys, purpose, by=by)
    if not there:
        raise Misuse(
            f"the token has no key {purpose} to rotate", hint="trustbox keys list shows all."
        )
    if len(there) > 1:
        old, new = there[-2], there[-1]
        if new.certified:
            raise Misuse(
                f"of {purpose} {new.number} is certified and {old.number} is not retired",
                hint="Retire the old one first: trustbox keys retire.",
            )
        return old, new  # an earlier rotation, not gone through
    [old] = there
    number = old.number + 1
    made, _ = keys.generate(purpose, profile or old.key.profile, generation=number, by=by)
    if faults := keys.evidence(made, by=by).faults():
        keys.erase(made, by=by)
        raise IntegrityFailure(
            f"generation {number} of {purpose} is not what it must be: {faults[0]}",
            hint=f"It was erased; generation {old.number} is untouched. " + "; ".join(faults[1:]),
        )
    return old, Generation(number, made, certified=False)


def retire(keys: KeySession, purpose: str, *, by: Deadline) -> tuple[Generation, ...]:
    """Erase every generation but the newest one, which must be certified; those that were erased.

    Raises Misuse when the newest has no certificate: the box would be left without an identity.
    """
    there = generations(keys, purpose, by=by)
    if not there:
        raise Misuse(f"the token has no key {purpose}")
    if not there[-1].certified:
        raise Misuse(
            f"generation {there[-1].number} of {purpose} has no certificate in the token yet",
            hint="Certify and install it first; nothing was erased.",
        )
    for old in there[:-1]:
        keys.erase(old.key, by=by)
    return there[:-1]
