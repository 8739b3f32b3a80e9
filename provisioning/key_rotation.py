"""A new generation of a key: made beside the old one, which stays until the new one is certified.

::

    n in use → rotate: n+1 made and proven, n stays → a certificate of n+1 is in → retire: n erased

Keys that nobody certifies (a plan's [keys]) skip the third. Each part looks at the token first, so
running it again goes on. Which generations there are is told by the token alone: CKA_ID is a hash
of serial number, purpose and generation.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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


def some_generations(keys: KeySession, purpose: str, *, by: Deadline) -> tuple[Generation, ...]:
    """As ``generations``, and at least one. Raises Misuse when there is none: no such key, or a
    secret one, which has no generations.
    """
    if there := generations(keys, purpose, by=by):
        return there
    if keys.find_secret(purpose, by=by) is None:
        raise Misuse(f"the token has no key {purpose}", hint="trustbox keys list shows all.")
    raise Misuse(
        f"{purpose} is a secret key: it is not certified, and not rotated",
        hint="What was encrypted under it could not be read with another one. Have one made under"
        " another purpose (the plan's [keys]), use that, and then erase this: trustbox keys erase.",
    )


def superseded(keys: KeySession, purpose: str, *, by: Deadline) -> tuple[bytes, ...]:
    """CKA_IDs of what ``retire`` would erase, whole keys or not."""
    there = generations(keys, purpose, by=by)
    newest = there[-1].number if there else 1
    return tuple(keys.id_of(purpose, number) for number in range(1, newest))


def dropped(keys: KeySession, purpose: str, *, by: Deadline) -> tuple[bytes, ...]:
    """The CKA_ID of what ``rotate`` would erase first with ``anew``, if there is one."""
    there = generations(keys, purpose, by=by)
    left = len(there) > 1 and not there[-1].certified
    return (there[-1].key.id,) if left else ()


def in_use(there: Sequence[Generation]) -> KeyPair | None:
    """The newest certified one; without any certificate the oldest: what comes after it is being
    made.
    """
    certified = [one.key for one in there if one.certified]
    return certified[-1] if certified else next((one.key for one in there), None)


def rotate(
    keys: KeySession,
    purpose: str,
    profile: KeyProfile | None = None,
    *,
    allowed: Collection[KeyProfile] | None = None,
    anew: bool = False,
    by: Deadline,
) -> tuple[Generation, Generation]:
    """The generation in use, and the next one, made if it is not there yet (of the same profile
    unless another one is named), and proven. Certify and install the next, then ``retire`` the old.

    ``allowed`` are the profiles that will be certified; None: nobody has to. ``anew`` erases what
    an earlier rotation left without a certificate, and makes it again.

    Raises Misuse when there is nothing to rotate, or not to such a key: nothing was made then.
    IntegrityFailure when the new key is not what it must be: one made just now is erased again.
    """
    there = some_generations(keys, purpose, by=by)
    old = there[-2] if len(there) > 1 else there[0]
    if len(there) > 1 and there[-1].certified:
        raise Misuse(
            f"of {purpose} {there[-1].number} is certified and {old.number} is not retired",
            hint=f"Retire the old one first: trustbox keys retire {purpose}.",
        )
    left = there[-1] if len(there) > 1 else None
    wanted = profile or (old if left is None or anew else left).key.profile
    if allowed is not None and wanted not in allowed:
        kinds = ", ".join(one.value for one in allowed)
        raise Misuse(
            f"the CA certifies no {wanted.value} key: no generation of {purpose} was made",
            hint=f"Name one of these with --profile: {kinds}.{_drop(left)} For another CA that"
            " takes it: --key-only.",
        )
    if left is not None and not anew:
        if wanted is not left.key.profile:
            raise Misuse(
                f"an earlier rotation left generation {left.number} of {purpose}, which is"
                f" {left.key.profile.value} and not {wanted.value}",
                hint=f"Go on with it without --profile.{_drop(left)}",
            )
        if faults := keys.evidence(left.key, by=by).faults():  # it may have been cut before that
            raise IntegrityFailure(
                f"generation {left.number} of {purpose} is not what it must be: {faults[0]}",
                hint="; ".join([*faults[1:], _drop(left).strip()]),
            )
        return old, left
    if left is not None:
        _erase_left(keys, purpose, old, left, by)
    return old, _made(keys, purpose, wanted, old.number + 1, by)


def retire(
    keys: KeySession, purpose: str, *, certified: bool = True, by: Deadline
) -> tuple[Generation, ...]:
    """Erase every generation but the newest one; those that were erased.

    Raises Misuse when the newest has no certificate: the box would be left without an identity.
    ``certified`` False is for keys that nobody certifies: if none of its generations has a
    certificate, the newest must prove itself instead, and IntegrityFailure says that it does not.
    """
    there = some_generations(keys, purpose, by=by)
    newest, others = there[-1], there[:-1]
    if not newest.certified and (certified or any(one.certified for one in others)):
        raise Misuse(
            f"generation {newest.number} of {purpose} has no certificate in the token yet",
            hint="Nothing was erased. "
            + (
                "Certify and install it first."
                if certified
                else "An older one has: erase that by its id if it is not needed (keys erase)."
            ),
        )
    if others and not newest.certified and (faults := keys.evidence(newest.key, by=by).faults()):
        raise IntegrityFailure(
            f"generation {newest.number} of {purpose} is not what it must be: {faults[0]}",
            hint="; ".join([*faults[1:], "Nothing was erased."]),
        )
    held = {id for _, _, id in keys.token.objects(by=by)}
    for number in range(1, newest.number):
        if (id := keys.id_of(purpose, number)) in held:  # also what an erasing cut short left of it
            keys.erase_id(id, by=by)
    return others


def _made(
    keys: KeySession, purpose: str, profile: KeyProfile, number: int, by: Deadline
) -> Generation:
    if number > MOST_GENERATIONS:
        raise Misuse(f"{purpose} has had {MOST_GENERATIONS} generations: take another purpose")
    made, _ = keys.generate(purpose, profile, generation=number, by=by)
    if faults := keys.evidence(made, by=by).faults():
        keys.erase(made, by=by)
        raise IntegrityFailure(
            f"generation {number} of {purpose} is not what it must be: {faults[0]}",
            hint="; ".join([*faults[1:], "It was erased; the earlier one is untouched."]),
        )
    return Generation(number, made, certified=False)


def _erase_left(
    keys: KeySession, purpose: str, old: Generation, left: Generation, by: Deadline
) -> None:
    """Only beside a certified one is it sure that nobody uses it yet."""
    if not old.certified:
        raise Misuse(
            f"generation {left.number} of {purpose} may be in use: {old.number} has no certificate"
            " either",
            hint=f"If it is not: trustbox keys erase {left.key.id.hex()} --lasting"
            f" {keys.target.serial}, and rotate then.",
        )
    keys.erase(left.key, by=by)


def _drop(left: Generation | None) -> str:
    return f" To drop generation {left.number} and make it again: --anew." if left else ""
