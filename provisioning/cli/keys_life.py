"""``trustbox keys erase`` and ``import``: keys go, and come from outside."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from harness.config_secret import SecretFile
from harness.deadline import Deadline
from harness.errors import BadInput, Misuse
from harness.secret import Secret
from provisioning.cli.keys_options import (
    KEY_SECONDS,
    Chosen,
    PinsFile,
    Purpose,
    StateDirectory,
    TokenLabel,
    permitted_to,
    tell,
)
from provisioning.cli.options import AsJson, Lasting, Serial, TargetName, TargetsFile, to_stderr
from provisioning.device_key import device_purpose
from provisioning.key_import import holds
from provisioning.key_inventory import inventory
from provisioning.key_names import checked_purpose
from provisioning.lost_keys import going, keys_in
from provisioning.on_record import attempts


def register(app: typer.Typer) -> None:
    """Put the commands beside the others of ``trustbox keys``."""
    app.command()(erase)
    app.command("import")(import_)


def erase(
    id: Annotated[str, typer.Argument(help="The key's CKA_ID in hexadecimal (keys list).")],
    target: TargetName = "emulator",
    serial: Serial = None,
    lasting: Lasting = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    pins: PinsFile = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Erase everything of one CKA_ID: keys and certificates. Needs --lasting TB-….

    This is also how quarantine ends, once a person has looked: what is not one whole key goes. Its
    certificates are put on the CA's list of those to revoke. Cut short, run the same again.
    """
    chosen = Chosen(target, serial, config, token, pins, state, lasting)
    with chosen.box() as box:
        permitted_to("erasing a key", box.target)
        by = Deadline.after(KEY_SECONDS)
        chosen.log_in(box.keys, box.target, by=by)
        meant = [held for held in inventory(box.keys.token, by=by) if held.id.hex() == id.lower()]
        step = f"keys erase {id.lower()}"
        if not meant and not attempts(chosen.station, box.target.serial, step):
            raise Misuse(f"the token has nothing of id {id}", hint="trustbox keys list shows all.")
        label = meant[0].label if meant else "what an erasing that was cut short was of"
        objects = meant[0].objects if meant else ()
        gone = going(box.keys.token, [held.id for held in meant], by=by)
        still = partial(keys_in, box.keys.token, by=by)
        doing = f"erasing {label} ({id}): {', '.join(objects) or 'nothing is left of it'}"
        with chosen.on_record(box.target, step, doing, gone=gone, still=still, by=by) as effect:
            for held in meant:
                box.keys.erase_id(held.id, by=by)
            effect.said = f"{label} ({id}) is erased"
        tell(
            as_json,
            f"{label} ({id}) is erased: {', '.join(objects) or 'nothing was left of it'}",
            **effect.left.facts,
            serial=box.target.serial,
            label=label if meant else None,
            cka_id=id.lower(),
            erased=list(objects),
        )


def import_(
    purpose: Purpose,
    file: Annotated[
        Path, typer.Argument(help="File (mode 0600) with the secret: 64 hexadecimal digits.")
    ],
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    pins: PinsFile = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Bring an AES-256 key that the factory made into the token, under RSA-AES key wrap.

    The first import of a token makes its RSA key, which may take half a minute. The key's evidence
    will be `imported`: the factory had it. Refused where the token has anything of that purpose.
    """
    checked_purpose(purpose)
    chosen = Chosen(target, serial, config, token, pins, state)
    value = _decoded(SecretFile(file)(), file)
    with chosen.box() as box:
        if purpose == device_purpose(chosen.station, box.target.serial):
            raise Misuse(
                f"{purpose} is the device key of {box.target.serial}, which is made in the token",
                hint="Import the secret under another purpose.",
            )
        by = Deadline.after(KEY_SECONDS)
        found = chosen.log_in(box.keys, box.target, by=by)
        known = chosen.known(box.target, found, by=by)
        step, doing = f"keys import {purpose}", f"importing the key {purpose}"
        cut = bool(attempts(chosen.station, box.target.serial, step))
        there = box.keys.find_secret(purpose, by=by) if cut else None
        with chosen.on_record(box.target, step, doing, by=by) as effect:
            if there is not None and holds(box.keys.token, there.id, value, by=by):
                to_stderr(f"{purpose}: the import that was cut short had put it there")
                key = there
            else:
                to_stderr(f"{purpose}: wrapping it for the token")
                key = box.keys.import_secret(purpose, value, pin=known.user, by=by)
            effect.said = f"{purpose} is in the token, id {key.id.hex()}"
        tell(
            as_json,
            f"{purpose} of {box.target.serial} is in the token, id {key.id.hex()}",
            serial=box.target.serial,
            purpose=purpose,
            cka_id=key.id.hex(),
            profile=key.profile.value,
        )


def _decoded(text: Secret, file: Path) -> Secret:
    try:
        octets = bytes.fromhex(text.reveal().decode("ascii"))
    except ValueError:
        octets = b""
    if len(octets) != 32:
        raise BadInput(
            where=str(file), key="the secret", value="(hidden)", expected="64 hexadecimal digits"
        )
    return Secret(octets)
