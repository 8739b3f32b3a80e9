"""``trustbox keys``: the tokens of a box, the keys in them, and what each key is worth."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from harness.deadline import Deadline
from harness.errors import IntegrityFailure
from harness.target import Target
from provisioning.cli import (
    keys_certificate,
    keys_data,
    keys_life,
    keys_pin,
    keys_rotate,
    keys_wipe,
)
from provisioning.cli.keys_options import (
    KEY_SECONDS,
    Chosen,
    PinsFile,
    StateDirectory,
    TokenLabel,
    tell,
)
from provisioning.cli.options import AsJson, Serial, TargetName, TargetsFile, to_stderr
from provisioning.incidents import demand_none
from provisioning.key_evidence import KeyEvidence
from provisioning.key_inventory import Held, inventory
from provisioning.key_report import key_report
from provisioning.key_verdict import KeyVerdict
from provisioning.pin_sources import DerivedPins
from provisioning.record import load, value
from provisioning.station import Station
from provisioning.token_state import TokenState

app = typer.Typer(help="Keys in a box's token: list, prove, rotate, PINs.", no_args_is_help=True)
app.add_typer(keys_pin.app, name="pin", no_args_is_help=True)
app.add_typer(keys_data.app, name="data", no_args_is_help=True)


@app.command("list")
def list_(
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    pins: PinsFile = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """The box's tokens with their flags, and the keys in the one whose PIN is known here.

    \b
    trustbox keys list --target bench-07 --serial TB-0042

    Changes nothing, and never tries a PIN that could lock the token.
    """
    chosen = Chosen(target, serial, config, token, pins, state)
    with chosen.box() as box:
        by = Deadline.after(KEY_SECONDS)
        tokens, found = box.keys.tokens(by=by), box.target
        mine: TokenState | None = None
        held: tuple[Held, ...] = ()
        data = 0
        if any(one.initialised for one in tokens):
            mine = chosen.find(box.keys, found, by=by)
            if not mine.has_user_pin:
                to_stderr(f"{mine.label} has no user PIN yet: run trustbox provision again")
                mine = None
            elif chosen.source(found, mine) is None:
                to_stderr(f"keys of {mine.label} are not shown: its PIN is not known (--pins)")
                mine = None
            else:
                chosen.log_in(box.keys, found, by=by)
                held = inventory(box.keys.token, by=by)
                data = sum(kind == "other" for kind, _, _ in box.keys.token.objects(by=by))
        if as_json:
            typer.echo(json.dumps(_listed(found, tokens, mine, held, data)))
        else:
            _show(tokens, held)
        if not any(one.initialised for one in tokens):
            demand_none(chosen.station, found.serial, but="its tokens are blank")
            _demand_no_record(chosen.station, found.serial)


def _demand_no_record(station: Station, serial: str) -> None:
    """Raises IntegrityFailure where the box's record has a token in it: that one was lost."""
    path = station.records(serial) / "record.json"
    label = value(load(path), "token", "label")
    if label is not None:
        raise IntegrityFailure(
            f"{serial}: its tokens are blank, and the record has the token {label!r} ({path})",
            hint="It was wiped, it is on another disk, or the TEE's storage is in RAM. Nothing was"
            " made on the box. Look where its storage is (trustbox attest), and bring back its"
            " disk. If the box is to get another key, trustbox provision says how.",
        )


@app.command()
def evidence(
    keys: Annotated[
        list[str] | None,
        typer.Argument(help="Labels (purposes) or CKA_IDs; default: every key of the token."),
    ] = None,
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    pins: PinsFile = None,
    state: StateDirectory = None,
    accept: Annotated[
        list[KeyVerdict] | None,
        typer.Option(help="A verdict that is not a failure, besides made-inside; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What each key is worth: a verdict with its reasons, from fresh evidence.

    \b
    trustbox keys evidence device-id --json
    trustbox keys evidence --accept imported

    The token is asked for the key's attributes (asserted: any module can claim them); what must be
    refused is tried, and a fresh challenge is signed and verified here (observed). Verdicts, from
    good to bad: made-inside, imported, unproven, extractable. Exit status 7 for any other than
    made-inside, unless --accept names it.
    """
    chosen = Chosen(target, serial, config, token, pins, state)
    with chosen.box() as box:
        by = Deadline.after(KEY_SECONDS)
        chosen.log_in(box.keys, box.target, by=by)
        found = key_report(box.keys, keys or (), attest=True, progress=to_stderr, by=by)
        if as_json:
            typer.echo(json.dumps(found.to_dict()))
        else:
            for one in found.keys:
                typer.echo("\n".join(_lines(one)))
            for held in found.broken:
                typer.echo(f"{held.label} ({held.id.hex()}): quarantine: {held.trouble}")
        if bad := found.bad(accept or ()):
            raise IntegrityFailure(
                f"keys of {box.target.serial} that are not what they must be: {', '.join(bad)}",
                hint="The reasons stand with each key. A key that was imported on purpose passes"
                " with --accept imported.",
            )


keys_rotate.register(app)
app.command()(keys_wipe.wipe)
keys_life.register(app)
keys_certificate.register(app)


@app.command("factory-secret")
def factory_secret(
    hsm: Annotated[
        str, typer.Argument(help="softhsm:line, or a pkcs11: URI of the HSM's token.")
    ] = "softhsm:line",
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Make the secret that boxes' PINs are derived from, once, inside the factory's HSM.

    A plan uses it with source = "derived" in [secrets]. It never leaves the token and cannot be
    made again: who loses it knows no PIN any more. It is not made twice.
    """
    station = Station(state.absolute()) if state else Station.default()
    source = DerivedPins(hsm, station.state)
    new = source.make(by=Deadline.after(KEY_SECONDS))
    said = f"the secret of id {source.id.hex()} {'was made' if new else 'is there already'}"
    tell(as_json, said, cka_id=source.id.hex(), made=new)


def _show(tokens: tuple[TokenState, ...], held: tuple[Held, ...]) -> None:
    for one in tokens:
        flags = ", ".join(one.told_flags) or "blank"
        typer.echo(f"slot {one.slot:<6} {one.label or '-':24} {one.serial:18} {flags}")
    for key in held:
        typer.echo(f"{key.label:16} {key.kind:10} {key.id.hex()} {', '.join(key.objects)}")
        if key.trouble:
            typer.echo(f"{'':16} quarantine: {key.trouble}")


def _lines(one: KeyEvidence) -> list[str]:
    lines = [f"{one.key.label} ({one.key.profile.value}, {one.key.id.hex()}): {one.verdict.value}"]
    lines += [f"  {reason.known:9} {reason.text}" for reason in one.reasons]
    lines += [f"  {'observed':9} {probe.tried}: {probe.answer}" for probe in one.probes]
    lines.append(f"  {'observed':9} a fresh challenge was {'' if one.answered else 'not '}answered")
    lines.append(f"  {'asserted':9} module {one.module}, SHA-256 {one.module_sha256}")
    if one.code.ta is not None:
        digest = one.code.ta_digest or "not attested"
        lines.append(f"  {'asserted':9} TA {one.code.ta}, header digest {digest}")
    return [*lines, f"  {'asserted':9} TEE UUID {one.tee_uuid or '-'}"]


def _listed(
    target: Target,
    tokens: tuple[TokenState, ...],
    mine: TokenState | None,
    held: tuple[Held, ...],
    data: int,
) -> dict[str, object]:
    return {
        "serial": target.serial,
        "tokens": [one.to_dict() for one in tokens],
        "logged_in": mine.label if mine else None,
        "keys": [
            {
                "label": h.label,
                "cka_id": h.id.hex(),
                "profile": h.key.profile.value if h.key else None,
                "objects": list(h.objects),
                "trouble": h.trouble or None,
            }
            for h in held
        ],
        "other_objects": data,
    }
