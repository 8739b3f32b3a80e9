"""New PINs for a token whose PINs this station keeps: durable before they are used.

::

    <file>        the PINs that the token has
    <file>.next   the PINs that it is being given; there only while a change is under way

A change that was cut short is gone on with: nobody knows then which PIN the token has, so the new
one is offered first, which costs a try when the token never got it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import TokenRefused
from harness.secret import Secret
from provisioning.keys import KeySession
from provisioning.pin_budget import Role
from provisioning.pins import Pins
from provisioning.private_files import sync_directory
from provisioning.token_state import TokenState


def change_kept_pins(
    keys: KeySession, state: TokenState, file: Path, roles: Sequence[Role], *, by: Deadline
) -> None:
    """Give the token new random PINs for ``roles`` and keep them in ``file``.

    Raises TokenRefused as KeySession.change_pin does; then the PINs in ``file`` are still right, or
    the change can be gone on with.
    """
    known, waiting = Pins.read(file), file.with_name(file.name + ".next")
    resumed = waiting.exists()
    if not resumed:
        made = Pins.random()
        Pins(
            so=made.so if "so" in roles else known.so,
            user=made.user if "user" in roles else known.user,
        ).save(waiting)
    wanted = Pins.read(waiting)
    for role in ("user", "so"):
        old, new = of(known, role), of(wanted, role)
        if old.reveal() != new.reveal() and not (resumed and _has(keys, state, role, new, by)):
            keys.change_pin(state.label, role, old, new, serial=state.serial, by=by)
    wanted.save(file)
    waiting.unlink()
    sync_directory(file.parent)


def of(pins: Pins, role: Role) -> Secret:
    return pins.so if role == "so" else pins.user


def _has(keys: KeySession, state: TokenState, role: Role, pin: Secret, by: Deadline) -> bool:
    """Whether the token has this PIN already: changed into itself it stays what it is."""
    try:
        keys.change_pin(state.label, role, pin, pin, serial=state.serial, by=by)
    except TokenRefused as refused:
        if refused.ckr != "CKR_PIN_INCORRECT":
            raise
        return False
    return True
