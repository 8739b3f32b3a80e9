"""``trustbox keys erase`` and ``import``: keys go, and come from outside."""

from __future__ import annotations

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
from provisioning.key_inventory import inventory
from provisioning.key_names import checked_purpose


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

    This is also how quarantine ends, once a person has looked: what is not one whole key goes.
    """
    chosen = Chosen(target, serial, config, token, pins, state, lasting)
    with chosen.box() as box:
        permitted_to("erasing a key", box.target)
        by = Deadline.after(KEY_SECONDS)
        chosen.log_in(box.keys, box.target, by=by)
        meant = [held for held in inventory(box.keys.token, by=by) if held.id.hex() == id.lower()]
        if not meant:
            raise Misuse(f"the token has nothing of id {id}", hint="trustbox keys list shows all.")
        box.keys.erase_id(meant[0].id, by=by)
        tell(
            as_json,
            f"{meant[0].label} ({id}) is erased: {', '.join(meant[0].objects)}",
            serial=box.target.serial,
            label=meant[0].label,
            cka_id=meant[0].id.hex(),
            erased=list(meant[0].objects),
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
        to_stderr(f"{purpose}: wrapping it for the token")
        key = box.keys.import_secret(purpose, value, pin=known.user, by=by)
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
