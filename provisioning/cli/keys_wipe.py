"""``trustbox keys wipe``: a token initialised again, which erases everything in it."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from harness.deadline import Deadline
from harness.errors import Misuse
from harness.target import Target
from provisioning.cli.keys_options import (
    KEY_SECONDS,
    Chosen,
    PinsFile,
    StateDirectory,
    TokenLabel,
    permitted_to,
    tell,
)
from provisioning.cli.options import AsJson, Lasting, Serial, TargetName, TargetsFile, to_stderr
from provisioning.keys import KeySession
from provisioning.lost_keys import Going, all_of, going
from provisioning.pins import Pins
from provisioning.token_state import TokenFlags, TokenState

_NOT_LOOKED_INTO = (
    TokenFlags.USER_PIN_COUNT_LOW | TokenFlags.USER_PIN_FINAL_TRY | TokenFlags.USER_PIN_LOCKED
)

_IN_WORDS = {"certificate": "certificate", "other": "data"}


def wipe(
    target: TargetName = "emulator",
    serial: Serial = None,
    lasting: Lasting = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    token_serial: Annotated[
        str | None, typer.Option(help="Its serial number (keys list), where two bear one label.")
    ] = None,
    pins: PinsFile = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Initialise a token again: all keys, certificates and data in it are lost. Needs --lasting.

    \b
    trustbox keys wipe --token trustbox --serial TB-0042 --target bench-07 --lasting TB-0042

    Says first what is in it. Label and PINs stay: it uses the SO PIN that is known here, never when
    one of its tries is left, and sets the user PIN that is known here, also where that was locked.
    Cut short, run the same again. The certificates of the lost keys are put on the CA's list of
    those to revoke, and trustbox provision makes new keys. The box's journal has all of it.
    """
    chosen = Chosen(target, serial, config, token, pins, state, lasting)
    with chosen.box() as box:
        by = Deadline.after(KEY_SECONDS)
        meant = _meant(chosen, box.keys, box.target, token_serial, by)
        permitted_to(f"wiping the token {meant.label}", box.target)
        known = chosen.known(box.target, meant, by=by)
        held, gone = _held(box.keys, meant, known, by)
        to_stderr(f"{meant.label}: what is in it will be lost: {held}")
        if gone is None:
            gone = _unseen(chosen, box.keys, box.target, by)
        to_stderr(f"{meant.label}: initialising it again")
        step, doing = f"keys wipe {meant.label}", f"erasing the token {meant.label}: {held}"
        with chosen.on_record(box.target, step, doing, gone=gone, by=by) as effect:
            again = box.keys.wipe(
                meant.label, so_pin=known.so, user_pin=known.user, serial=meant.serial, by=by
            )
            effect.said = f"the token {again.label} is empty"
        tell(
            as_json,
            f"{again.label} of {box.target.serial} is empty, with the PINs that it had. Run"
            " trustbox provision for new keys.",
            **effect.left.facts,
            serial=box.target.serial,
            token=again.label,
            token_serial=again.serial,
            slot=again.slot,
            wiped=True,
        )


def _meant(
    chosen: Chosen, keys: KeySession, target: Target, serial: str | None, by: Deadline
) -> TokenState:  # fmt: skip
    """By label and serial number; Misuse unless that is one."""
    if serial is None:
        return chosen.find(keys, target, by=by)
    there = [one for one in keys.tokens(by=by) if one.initialised]
    meant = [one for one in there if one.serial == serial and chosen.token in (None, one.label)]
    if len(meant) != 1:
        shown = ", ".join(f"{one.label!r} (serial {one.serial})" for one in there) or "none"
        raise Misuse(
            f"{len(meant)} tokens of {target.serial} have the serial number {serial}"
            f"{f' and the label {chosen.token}' if chosen.token else ''}; there are: {shown}"
        )
    return meant[0]


def _unseen(chosen: Chosen, keys: KeySession, target: Target, by: Deadline) -> Going:
    """The keys of a token that was not looked into: all that the CA certified of the box, unless
    another token may hold them.
    """
    if sum(one.initialised for one in keys.tokens(by=by)) == 1:
        return all_of(chosen.station, target.serial)
    to_stderr(
        "whether its keys were certified was not looked at, and there are other tokens: look with"
        f" trustbox ca show --device {target.serial}, and revoke (trustbox ca revoke) what was"
    )
    return Going()


def _held(
    keys: KeySession, token: TokenState, known: Pins, by: Deadline
) -> tuple[str, Going | None]:
    """In words, and its keys; None where it was not looked into: a user PIN that may be wrong is
    not tried for it.
    """
    if not token.has_user_pin or token.flags & _NOT_LOOKED_INTO:
        return "not looked at, as no user PIN is set or wrong ones were tried", None
    keys.login(token.label, known.user, serial=token.serial, by=by)
    found, gone = keys.token.objects(by=by), going(keys.token, by=by)
    keys.logout(by=by)
    kinds = Counter(_IN_WORDS.get(kind, f"{kind} key") for kind, _, _ in found)
    names = sorted({label for _, label, _ in found if label})
    said = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    return f"{said} ({', '.join(names)})" if names else said or "nothing", gone
