"""``trustbox keys rotate`` and ``retire``: a key's next generation, and the end of the old one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

import typer

from harness.deadline import Deadline
from provisioning.authority import Authority
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
from provisioning.cli.options import AsJson, Serial, TargetName, TargetsFile, to_stderr
from provisioning.device_key import check_is_device_key, device_purpose
from provisioning.key_names import checked_purpose
from provisioning.key_rotation import dropped, retire, rotate, superseded
from provisioning.lost_keys import going, keys_in, outliving
from provisioning.token_public import KeyProfile
from provisioning.unfinished import record_is_behind


def register(app: typer.Typer) -> None:
    """Put the commands beside the others of ``trustbox keys``."""
    app.command("rotate")(rotate_)
    app.command("retire")(retire_)


def rotate_(
    purpose: Purpose = "device-id",
    profile: Annotated[
        KeyProfile | None,
        typer.Option(help="Of the new key; default: as the old one. The CA takes not all of them."),
    ] = None,
    days: Annotated[
        str, typer.Option(help="How long the new certificate is good, or unlimited.")
    ] = str(DEVICE.days),
    anew: Annotated[
        bool,
        typer.Option(
            "--anew", help="Erase what an earlier rotation left uncertified, and make it again."
        ),
    ] = False,
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
    trustbox keys rotate device-id && trustbox provision PLAN && trustbox keys retire device-id
    trustbox keys rotate signing --key-only && trustbox keys retire signing

    Only the device key is certified: it is the box's identity. Any other key needs --key-only. The
    old key stays until `trustbox keys retire`. Cut short, run the same again.
    """
    checked_purpose(purpose)
    chosen, period = Chosen(target, serial, config, token, pins, state), days_or_unlimited(days)
    with chosen.box() as box:
        by = Deadline.after(KEY_SECONDS)
        device = device_purpose(chosen.station, box.target.serial)
        with _certifier(chosen, box.target.serial, purpose, key_only=key_only, by=by) as ca:
            chosen.log_in(box.keys, box.target, by=by)
            to_stderr(f"{purpose}: making the next generation in the token, and proving it")
            allowed = ca.settings.device_keys if ca else None
            step, doing = f"keys rotate {purpose}", f"making the next generation of {purpose}"
            gone = dropped(box.keys, purpose, by=by) if anew else ()
            lost = going(box.keys.token, gone, by=by)
            still = partial(keys_in, box.keys.token, by=by)
            with chosen.on_record(box.target, step, doing, gone=lost, still=still, by=by) as effect:
                if purpose == device:
                    place = chosen.station.records(box.target.serial)
                    record_is_behind(place, step, "key", "certificate", "install")
                old, new = rotate(box.keys, purpose, profile, allowed=allowed, anew=anew, by=by)
                if ca is not None:
                    to_stderr(f"{purpose}: certifying generation {new.number}")
                    request = box.identity.request(new.key, by=by)
                    there = next((e.number for e in ca.good(box.target.serial)), None)
                    issued = ca.certify(
                        request, box.target.serial, days=period, replaces=there, by=by
                    )
                    box.identity.install(new.key, (issued, ca.issuing), by=by)
                effect.said = f"generation {new.number} is made"
            for one in outliving(chosen.station, going(box.keys.token, [old.key.id], by=by)).ours:
                to_stderr(
                    f"certificate {one.number:x} of generation {old.number} stays good until"
                    f" trustbox keys retire {purpose}, which puts it on the list to revoke"
                )
        tell(
            as_json,
            f"{purpose} of {box.target.serial}: generation {new.number} is made"
            f"{'' if key_only else ' and its certificate is installed'}; generation {old.number}"
            f" is still there. {_next(purpose, certify=key_only and purpose == device)}",
            serial=box.target.serial,
            purpose=purpose,
            old=old.number,
            new=new.number,
            label=new.key.label,
            cka_id=new.key.id.hex(),
            spki_sha256=new.key.spki_sha256,
            certified=not key_only,
            **effect.left.facts,
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

    Their certificates are put on the CA's list of those to revoke. A key that is not the device key
    and was never certified has to prove itself instead. Cut short, run the same again.
    """
    checked_purpose(purpose)
    chosen = Chosen(target, serial, config, token, pins, state)
    with chosen.box() as box:
        by = Deadline.after(KEY_SECONDS)
        chosen.log_in(box.keys, box.target, by=by)
        certified = purpose == device_purpose(chosen.station, box.target.serial)
        step, doing = f"keys retire {purpose}", f"erasing the old generations of {purpose}"
        still = partial(keys_in, box.keys.token, by=by)
        lost = going(box.keys.token, superseded(box.keys, purpose, by=by), by=by)
        with chosen.on_record(box.target, step, doing, gone=lost, still=still, by=by) as effect:
            gone = retire(box.keys, purpose, certified=certified, by=by)
            told = ", ".join(str(one.number) for one in gone) or "none, there is only one"
            effect.said = f"erased generations: {told}"
        tell(
            as_json,
            f"{purpose} of {box.target.serial}: erased generations: {told}",
            serial=box.target.serial,
            purpose=purpose,
            erased=[one.number for one in gone],
            **effect.left.facts,
        )


@contextmanager
def _certifier(
    chosen: Chosen, serial: str, purpose: str, *, key_only: bool, by: Deadline
) -> Iterator[Authority | None]:
    """The station's CA, opened before any key is made; None: nothing is to be certified."""
    if key_only:
        yield None
        return
    check_is_device_key(
        chosen.station,
        serial,
        purpose,
        instead=f"Nothing was done. For its next generation: trustbox keys rotate {purpose}"
        f" --key-only, and then trustbox keys retire {purpose}.",
    )
    with chosen.station.authority(by=by) as ca:
        yield ca


def _next(purpose: str, *, certify: bool) -> str:
    first = f"Have it certified (trustbox keys request {purpose}, and install), then run"
    return (
        f"{first if certify else 'Run'} trustbox provision for the record and for IoT Edge, and"
        f" trustbox keys retire {purpose} to erase the old one."
    )
