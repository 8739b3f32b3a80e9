"""``trustbox keys pin``: the PINs of a box's token, and how many tries are left."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.authority_tokens import forget_wrong_pins
from provisioning.cli.keys_options import (
    KEY_SECONDS,
    Chosen,
    PinsFile,
    StateDirectory,
    TokenLabel,
    tell,
)
from provisioning.cli.options import AsJson, Serial, TargetName, TargetsFile, to_stderr
from provisioning.pin_budget import MOST, Role
from provisioning.pin_change import ROLES, change_kept_pins, is_pending, of, unblock_kept_pin
from provisioning.pin_sources import PinSource
from provisioning.pins import Pins
from provisioning.plan import is_plan
from provisioning.plan_pins import KeptPins
from provisioning.token_state import TokenState
from provisioning.trustbox import TrustBox

app = typer.Typer(help="PINs of a box's token. A PIN is never on a command line.")

_TOLD: Mapping[Role, str] = {"user": "user", "so": "SO"}
So = Annotated[bool, typer.Option("--so", help="The security officer's PIN instead of the user's.")]


@app.command()
def status(
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """What the token says about its PINs, and how many wrong ones this station gave it.

    Tries no PIN. A token that is locked, or has one try left, is left to a person.
    """
    chosen = Chosen(target, serial, config, token, None, state)
    with chosen.box() as box:
        found = chosen.find(box.keys, box.target, by=Deadline.after(KEY_SECONDS))
        budget = chosen.station.pin_budget
        failures = {role: budget.failures(found, role) for role in ROLES}
        source = chosen.source(box.target, found)
        pending = isinstance(source, KeptPins) and is_pending(source.path)
        if as_json:
            told = {"own_failures": failures, "most": MOST, "change_pending": pending}
            told["pins_from"] = source.told if source else None
            typer.echo(json.dumps({**found.to_dict(), **told}))
            return
        typer.echo(f"{found.label} of {box.target.serial}: {', '.join(found.told_flags)}")
        for role in ROLES:
            typer.echo(f"{_TOLD[role]:4} wrong PINs from this station: {failures[role]} of {MOST}")
        typer.echo(f"PINs come from {_told(source)}")
        if pending:
            typer.echo("a change of its PINs was cut short: trustbox keys pin change finishes it")


@app.command()
def change(
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    pins: PinsFile = None,
    new_pins: Annotated[
        Path | None,
        typer.Option(
            help="File (mode 0600) of yours with new PINs, where this station keeps none."
        ),
    ] = None,
    so: So = False,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Give the token another user PIN (or, with --so, another SO PIN).

    Where this station keeps the PINs: a new random one, on the disk before the token gets it. If
    that is cut short, run the same again: nothing else uses the token's PINs until it is finished.

    Where they come from a file, a program or the factory's HSM: the one in --new-pins. Your source
    is not changed: name that file in the plan's [secrets] then.
    """
    role: Role = "so" if so else "user"
    if pins is not None and new_pins is None and not is_plan(pins):
        raise Misuse("--pins FILE wants --new-pins FILE: this station keeps no copy of your files")
    chosen = Chosen(target, serial, config, token, pins, state)
    with chosen.box() as box:
        by = Deadline.after(KEY_SECONDS)
        found = chosen.find(box.keys, box.target, by=by)
        source = chosen.source(box.target, found)
        finished: tuple[Role, ...] = ()
        if isinstance(source, KeptPins):
            if new_pins is not None:
                raise Misuse(
                    f"this station keeps the PINs of the token {found.label} itself",
                    hint="Leave out --new-pins: it gets a new random one.",
                )
            with _recorded(chosen, box, found, role, by=by):
                finished = change_kept_pins(box.keys, found, source.path, (role,), by=by)
        elif new_pins is not None:
            _change_to_file(chosen, box, found, role, new_pins, by=by)
        else:
            raise Misuse(
                f"the PINs of the token {found.label} come from {_told(source)}, and this station"
                " cannot change what comes from there",
                hint="Give the token PINs of a file: --new-pins FILE (so_pin and user_pin, mode"
                " 0600), and name that file in the plan's [secrets] then.",
            )
        for one in finished:
            to_stderr(f"{_TOLD[one]} PIN: the change that was cut short is finished")
        said = f"{found.label} of {box.target.serial} has another {_TOLD[role]} PIN"
        if new_pins is not None:
            said += f"; name {new_pins} in the plan's [secrets], or with --pins"
        if "user" in (role, *finished):
            said += "; where IoT Edge is configured, run trustbox provision: its file has the PIN"
        tell(
            as_json,
            said,
            serial=box.target.serial,
            token=found.label,
            changed=role,
            finished=list(finished),
        )


def _change_to_file(
    chosen: Chosen, box: TrustBox, found: TokenState, role: Role, file: Path, *, by: Deadline
) -> None:
    """The role's PIN becomes the one in the operator's file, which is read before one is tried."""
    wanted, old = Pins.read(file), chosen.known(box.target, found, by=by)
    with _recorded(chosen, box, found, role, by=by):
        box.keys.change_pin(
            found.label, role, of(old, role), of(wanted, role), serial=found.serial, by=by
        )
    other: Role = "user" if role == "so" else "so"
    if of(old, other).reveal() != of(wanted, other).reveal():
        to_stderr(f"{file} has another {_TOLD[other]} PIN, too: change that as well")


@contextmanager
def _recorded(
    chosen: Chosen, box: TrustBox, found: TokenState, role: Role, *, by: Deadline
) -> Iterator[None]:
    step = f"keys pin change {found.label} {role}"
    doing = f"giving the token {found.label} another {_TOLD[role]} PIN"
    with chosen.on_record(box.target, step, doing, by=by) as effect:
        yield
        effect.said = f"the token {found.label} has another {_TOLD[role]} PIN"


def _told(source: PinSource | None) -> str:
    return source.told if source else "nowhere that this station knows (--pins names it)"


@app.command()
def unblock(
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    pins: PinsFile = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Set the user PIN anew by the SO: the one that is known here. Also for a locked one.

    Keys stay. Uses the SO PIN, and never when one of its tries is left.
    """
    chosen = Chosen(target, serial, config, token, pins, state)
    with chosen.box() as box:
        by = Deadline.after(KEY_SECONDS)
        found = chosen.find(box.keys, box.target, by=by)
        source = chosen.source(box.target, found)
        own = None if isinstance(source, KeptPins) else chosen.known(box.target, found, by=by)
        step = f"keys pin unblock {found.label}"
        doing = f"setting the user PIN of the token {found.label} anew"
        with chosen.on_record(box.target, step, doing, by=by):
            if isinstance(source, KeptPins):
                unblock_kept_pin(box.keys, found, source.path, by=by)
            elif own is not None:
                box.keys.token.reset_user_pin(
                    found.label, own.so, own.user, serial=found.serial, by=by
                )
        said = f"{found.label} of {box.target.serial} opens with its user PIN again"
        tell(as_json, said, serial=box.target.serial, token=found.label, unblocked="user")


@app.command("forget-failures")
def forget_failures(
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    so: So = False,
    hsm: Annotated[
        str | None,
        typer.Option("--hsm", help="The factory's token of this pkcs11: URI instead of a box's."),
    ] = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Say that the PIN is right now: this station's count of wrong ones begins anew.

    The token's own count is the token's; it is looked at before every try.
    """
    role: Role = "so" if so else "user"
    chosen = Chosen(target, serial, config, token, None, state)
    if hsm is not None:
        if so:
            raise Misuse("no command gives the factory's token its SO PIN: leave out --so")
        by = Deadline.after(KEY_SECONDS)
        meant = forget_wrong_pins(hsm, chosen.station.state, by=by)
        said = f"{meant.label} (serial number {meant.serial}): wrong PINs forgotten"
        tell(as_json, said, serial=None, token=meant.label, forgotten=role)
        return
    with chosen.box() as box:
        found = chosen.find(box.keys, box.target, by=Deadline.after(KEY_SECONDS))
        chosen.station.pin_budget.forget(found, role)
        said = f"{found.label} of {box.target.serial}: wrong {_TOLD[role]} PINs forgotten"
        tell(as_json, said, serial=box.target.serial, token=found.label, forgotten=role)
