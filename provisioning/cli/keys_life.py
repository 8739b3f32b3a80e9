"""``trustbox keys rotate``, ``retire``, ``erase`` and ``import``: keys come and go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.config_secret import SecretFile
from harness.deadline import Deadline
from harness.errors import BadInput, Misuse
from harness.secret import Secret
from provisioning.authority_policy import DEVICE
from provisioning.cli.ca_options import days_or_unlimited
from provisioning.cli.keys_options import (
    KEY_SECONDS,
    Chosen,
    PinsFile,
    Purpose,
    StateDirectory,
    TokenLabel,
    tell,
)
from provisioning.cli.options import AsJson, Lasting, Serial, TargetName, TargetsFile, to_stderr
from provisioning.key_inventory import inventory
from provisioning.key_rotation import retire, rotate
from provisioning.token_public import KeyProfile


def register(app: typer.Typer) -> None:
    """Put the commands beside the others of ``trustbox keys``."""
    app.command("rotate")(rotate_)
    app.command("retire")(retire_)
    app.command()(erase)
    app.command("import")(import_)


def rotate_(
    purpose: Purpose = "device-id",
    profile: Annotated[
        KeyProfile | None, typer.Option(help="Of the new key; default: as the old one.")
    ] = None,
    days: Annotated[
        str, typer.Option(help="How long the new certificate is good, or unlimited.")
    ] = str(DEVICE.days),
    key_only: Annotated[
        bool, typer.Option("--key-only", help="Make and prove the key; certify nothing.")
    ] = False,
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    pins: PinsFile = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Make the key's next generation, have the station's CA certify it, and install that.

    \b
    trustbox keys rotate device-id && trustbox keys retire device-id

    The old key stays until `trustbox keys retire`. Cut short, run the same again.
    """
    chosen, period = Chosen(target, serial, config, token, pins, state), days_or_unlimited(days)
    with chosen.box() as box:
        by = Deadline.after(KEY_SECONDS)
        chosen.log_in(box.keys, box.target, by=by)
        to_stderr(f"{purpose}: making the next generation in the token, and proving it")
        old, new = rotate(box.keys, purpose, profile, by=by)
        if not key_only:
            to_stderr(f"{purpose}: certifying generation {new.number}")
            request = box.identity.request(new.key, by=by)
            with chosen.station.authority(by=by) as ca:
                issued = ca.certify(request, box.target.serial, days=period, by=by)
                box.identity.install(new.key, (issued, ca.issuing), by=by)
        tell(
            as_json,
            f"{purpose} of {box.target.serial}: generation {new.number} is made"
            f"{'' if key_only else ' and its certificate is installed'}; generation {old.number}"
            " is still there. Run trustbox provision for the record and for IoT Edge, then"
            f" trustbox keys retire {purpose} to erase the old one.",
            serial=box.target.serial,
            purpose=purpose,
            old=old.number,
            new=new.number,
            label=new.key.label,
            cka_id=new.key.id.hex(),
            spki_sha256=new.key.spki_sha256,
            certified=not key_only,
        )


def retire_(
    purpose: Purpose = "device-id",
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    pins: PinsFile = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Erase the key's old generations, once the newest one has its certificate in the token.

    Revoke their certificates as well: trustbox ca show --device, trustbox ca revoke.
    """
    chosen = Chosen(target, serial, config, token, pins, state)
    with chosen.box() as box:
        by = Deadline.after(KEY_SECONDS)
        chosen.log_in(box.keys, box.target, by=by)
        gone = retire(box.keys, purpose, by=by)
        told = ", ".join(str(one.number) for one in gone) or "none, there is only one"
        tell(
            as_json,
            f"{purpose} of {box.target.serial}: erased generations: {told}",
            serial=box.target.serial,
            purpose=purpose,
            erased=[one.number for one in gone],
        )


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
        if not box.target.lasting:
            raise Misuse(
                f"erasing a key of {box.target.serial} cannot be undone",
                hint=f"Permit it with --lasting {box.target.serial}.",
            )
        by = Deadline.after(KEY_SECONDS)
        chosen.log_in(box.keys, box.target, by=by)
        meant = [held for held in inventory(box.keys.token, by=by) if held.id.hex() == id.lower()]
        if not meant:
            raise Misuse(f"the token has nothing of id {id}", hint="trustbox keys list shows all.")
        for kind in ("private", "public", "secret", "certificate"):
            box.keys.token.destroy(kind, meant[0].id, by=by)
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
    will be `imported`: the factory had it.
    """
    chosen = Chosen(target, serial, config, token, pins, state)
    value = _decoded(SecretFile(file)(), file)
    with chosen.box() as box:
        by = Deadline.after(KEY_SECONDS)
        found = chosen.log_in(box.keys, box.target, by=by)
        known = chosen.known(box.target, found)
        if known is None:
            raise Misuse(f"this station has no PIN for the token {found.label}")
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
