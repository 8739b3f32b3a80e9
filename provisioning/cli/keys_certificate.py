"""``trustbox keys request`` and ``install``: a certificate for a box's key from whatever CA."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from harness.deadline import Deadline
from provisioning.certificates import check_path
from provisioning.cli.keys_options import (
    KEY_SECONDS,
    Chosen,
    PinsFile,
    Purpose,
    StateDirectory,
    TokenLabel,
    tell,
)
from provisioning.cli.options import AsJson, Serial, TargetName, TargetsFile
from provisioning.device_key import check_is_device_key
from provisioning.key_names import checked_purpose
from provisioning.key_rotation import some_generations
from provisioning.private_files import write_durably
from provisioning.trusted_files import chain_in, root_in
from provisioning.unfinished import record_is_behind


def register(app: typer.Typer) -> None:
    """Put the commands beside the others of ``trustbox keys``."""
    app.command()(request)
    app.command()(install)


def request(
    purpose: Purpose = "device-id",
    out: Annotated[Path | None, typer.Option(help="Where to write PEM; default: stdout.")] = None,
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    pins: PinsFile = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """A certificate request for the key's newest generation, signed in the token.

    \b
    trustbox keys rotate device-id --key-only && trustbox keys request device-id --out box.csr
    trustbox est enroll https://est.example --csr box.csr --out box.pem --trusted tls-root.pem
    trustbox keys install device-id box.pem --root root.pem

    From the station's CA instead of EST: trustbox ca renew --device TB-… --request box.csr.
    """
    checked_purpose(purpose)
    chosen = Chosen(target, serial, config, token, pins, state)
    with chosen.box() as box:
        by = Deadline.after(KEY_SECONDS)
        chosen.log_in(box.keys, box.target, by=by)
        newest = some_generations(box.keys, purpose, by=by)[-1]
        made = x509.load_der_x509_csr(box.identity.request(newest.key, by=by))
        text = made.public_bytes(Encoding.PEM).decode()
        if out is not None:
            write_durably(out.absolute(), text.encode(), mode=0o644)
        elif not as_json:
            typer.echo(text, nl=False)
        tell(
            as_json,
            f"{purpose} of {box.target.serial}: generation {newest.number} asks for a certificate"
            f"{f' in {out}' if out else ''}",
            serial=box.target.serial,
            purpose=purpose,
            generation=newest.number,
            spki_sha256=newest.key.spki_sha256,
            request=text,
        )


def install(
    purpose: Purpose,
    chain: Annotated[Path, typer.Argument(help="PEM file: the certificate, then its issuers.")],
    root: Annotated[Path, typer.Option(help="PEM file of the root that it leads to.")],
    idevid: Annotated[
        bool, typer.Option("--idevid", help="It must be an IDevID, as the station's CA makes.")
    ] = False,
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    pins: PinsFile = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Install a certificate for the key's newest generation: in the token, and in the box's file.

    It must be for that key and this box, good today, for client authentication, and lead to --root;
    otherwise nothing is changed. PURPOSE is the device key's: a box has one identity. Run trustbox
    provision afterwards, for the record and for IoT Edge, with a plan whose [enrollment.est] ca is
    that root.
    """
    checked_purpose(purpose)
    chosen = Chosen(target, serial, config, token, pins, state)
    leaf, *above = chain_in(chain)
    trusted, below = root_in(root)
    with chosen.box() as box:
        check_is_device_key(
            chosen.station,
            box.target.serial,
            purpose,
            instead="Nothing was changed. Keep a certificate for another key where the program that"
            " uses it looks for it.",
        )
        by = Deadline.after(KEY_SECONDS)
        chosen.log_in(box.keys, box.target, by=by)
        newest = some_generations(box.keys, purpose, by=by)[-1]
        path = check_path(
            leaf,
            key=newest.key.public_key,
            serial=box.target.serial,
            above=(*above, *below),
            root=trusted,
            idevid=idevid,
        )
        place = chosen.station.records(box.target.serial)
        record_is_behind(place, f"keys install {purpose}", "key", "certificate", "install")
        box.identity.install(newest.key, path, by=by)
        tell(
            as_json,
            f"{purpose} of {box.target.serial}: certificate {leaf.serial_number:x} is installed for"
            f" generation {newest.number}; run trustbox provision for the record and IoT Edge",
            serial=box.target.serial,
            purpose=purpose,
            generation=newest.number,
            certificate=f"{leaf.serial_number:x}",
            file=box.identity.chain_path,
        )
