"""New PINs for a token whose PINs this station keeps: durable before they are used.

::

    <file>            the PINs that the token has
    <file>.next       those that it is being given; there only while a change is under way
    <file>.refused-1  a change that was gone on with and that the token denies: for a person

A change that was cut short is finished before anything else: nobody knows then which PIN the token
has, so ``kept_pins`` gives none, and who goes on offers the new one first, which costs a try when
the token never got it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import Misuse, TokenRefused
from harness.secret import Secret
from provisioning.keys import KeySession
from provisioning.pin_budget import Role
from provisioning.pins import Pins
from provisioning.private_files import sync_directory
from provisioning.token_state import TokenState

ROLES: tuple[Role, ...] = ("user", "so")
_NOT_TAKEN = frozenset({"CKR_PIN_INCORRECT", "CKR_PIN_LOCKED"})
"""Answers to the old PIN, after which the token cannot have the new one."""


def is_pending(file: Path) -> bool:
    """Whether a change of the PINs kept in ``file`` was begun and is not known to be done."""
    return _next(file).exists()


def kept_pins(file: Path) -> Pins:
    """The PINs that the token has. Raises Misuse while a change is pending, and BadInput."""
    if is_pending(file):
        raise Misuse(
            f"a change of the token's PINs was cut short, as {_next(file)} says: nobody knows which"
            " PIN it has now, and none was tried",
            hint="Finish it first: trustbox keys pin change. Where the token has neither any more,"
            f" as it was wiped: move {_next(file)} away.",
        )
    return Pins.read(file)


def change_kept_pins(
    keys: KeySession, state: TokenState, file: Path, roles: Sequence[Role], *, by: Deadline
) -> tuple[Role, ...]:
    """Give the token new random PINs for ``roles``, keep them in ``file``; what had to be finished.

    A pending change is finished first, whichever roles it is of; a role of it is not changed once
    more. Raises TokenRefused as KeySession.change_pin does, and what a lost link raises. No PIN is
    lost: after a refusal of the old PIN ``file`` is as it was, otherwise the change is pending.
    """
    finished = _go_on(keys, state, file, by=by) if is_pending(file) else ()
    for role in roles:
        if role not in finished:
            _change(keys, state, file, role, by=by)
    return finished


def unblock_kept_pin(keys: KeySession, state: TokenState, file: Path, *, by: Deadline) -> None:
    """The user PIN set by the SO to the kept one: the new one, where its change is pending.

    Raises Misuse, and tries nothing, where a change of the SO PIN is pending.
    """
    known = Pins.read(file)
    wanted = Pins.read(_next(file)) if is_pending(file) else known
    if "so" in _differing(known, wanted):
        kept_pins(file)  # says what to do first
    keys.token.reset_user_pin(state.label, known.so, wanted.user, serial=state.serial, by=by)
    if is_pending(file):
        _settle(wanted, file)


def of(pins: Pins, role: Role) -> Secret:
    return pins.so if role == "so" else pins.user


def _change(keys: KeySession, state: TokenState, file: Path, role: Role, *, by: Deadline) -> None:
    known = Pins.read(file)
    wanted = _with(known, role, of(Pins.random(), role))
    wanted.save(_next(file))
    try:
        keys.change_pin(
            state.label, role, of(known, role), of(wanted, role), serial=state.serial, by=by
        )
    except TokenRefused as refused:
        if refused.ckr in _NOT_TAKEN:
            _settle(known, file)
        raise
    _settle(wanted, file)


def _go_on(keys: KeySession, state: TokenState, file: Path, *, by: Deadline) -> tuple[Role, ...]:
    known, wanted = Pins.read(file), Pins.read(_next(file))
    pending = _differing(known, wanted)
    for role in pending:
        old, new = of(known, role), of(wanted, role)
        if not _has(keys, state, role, new, by):
            try:
                keys.change_pin(state.label, role, old, new, serial=state.serial, by=by)
            except TokenRefused as refused:
                if refused.ckr == "CKR_PIN_INCORRECT":
                    refused.hint += (
                        f" It has neither the PIN in {file} nor the one that it was to get, which"
                        f" is kept in {_put_aside(file)}."
                    )
                raise
        known = _with(known, role, new)
        known.save(file)
    _settle(wanted, file)
    return pending


def _has(keys: KeySession, state: TokenState, role: Role, pin: Secret, by: Deadline) -> bool:
    """Whether the token has this PIN already: changed into itself it stays what it is."""
    try:
        keys.change_pin(state.label, role, pin, pin, serial=state.serial, by=by)
    except TokenRefused as refused:
        if refused.ckr != "CKR_PIN_INCORRECT":
            raise
        return False
    return True


def _next(file: Path) -> Path:
    return file.with_name(file.name + ".next")


def _differing(known: Pins, wanted: Pins) -> tuple[Role, ...]:
    return tuple(r for r in ROLES if of(known, r).reveal() != of(wanted, r).reveal())


def _with(pins: Pins, role: Role, pin: Secret) -> Pins:
    return replace(pins, so=pin) if role == "so" else replace(pins, user=pin)


def _settle(pins: Pins, file: Path) -> None:
    """The token has ``pins``, for certain."""
    pins.save(file)
    _next(file).unlink()
    sync_directory(file.parent)


def _put_aside(file: Path) -> Path:
    names = (file.with_name(f"{file.name}.refused-{number}") for number in count(1))
    free = next(name for name in names if not name.exists())
    _next(file).rename(free)
    sync_directory(file.parent)
    return free
