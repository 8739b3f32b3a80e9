"""``trustbox ta inspect|verify``: what a signed TA file says of itself, and whether it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import IntegrityFailure, Misuse
from provisioning.cli.options import AsJson
from provisioning.cli.ta_options import (
    Config,
    EncryptionKey,
    Of,
    Serial,
    read_file,
    the_encryption_key,
    the_firmware,
    the_uuid,
)
from provisioning.enclave_format import TaFile, take_apart
from provisioning.enclave_signer import FileSigner, read_public_key
from provisioning.enclave_verify import FAIL, UNKNOWN, checks, fingerprint

_TYPES = {0: "bare (no UUID!)", 1: "plain", 2: "encrypted", 3: "subkeys alone"}


def inspect(
    file: Annotated[Path, typer.Argument(help="A signed TA (<uuid>.ta), or a subkey file.")],
    as_json: AsJson = False,
) -> None:
    """Take a signed TA apart and show every field. Nothing of it is checked: see verify.

    A file that is no TA is refused with the field that is wrong.
    """
    data = read_file(file)
    told = describe(take_apart(data, size=len(data), where=str(file)))
    if as_json:
        typer.echo(json.dumps(told))
        return
    _tell(told, "")


def verify(
    file: Annotated[Path, typer.Argument(help="A signed TA (<uuid>.ta), or a subkey file.")],
    key: Annotated[
        Path | None, typer.Option(help="The box's TA key: PEM, its public half is enough.")
    ] = None,
    encryption_key: EncryptionKey = None,
    uuid: Annotated[str | None, typer.Option(help="The UUID that it must be for.")] = None,
    headers_only: Annotated[
        bool, typer.Option("--headers-only", help="Leave encrypted contents unlooked at.")
    ] = False,
    target: Of = None,
    serial: Serial = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Check signature, subkeys, UUID and contents as the box's OP-TEE would.

    Exit status 7 when one fails. An encrypted TA needs its key, or --headers-only: without, what
    can be checked is shown, and where all of that passes the exit status is 2. That a box has
    loaded a newer version already, only the box knows.
    """
    firmware = the_firmware(target, serial, config)
    if key is not None:
        public = read_public_key(key)
    elif firmware.ta_signing_key is not None:
        public = FileSigner(firmware.ta_signing_key).public_key
    else:
        raise Misuse("no key is named", hint="Say --key FILE or --target NAME.")
    wanted = the_uuid(uuid) if uuid else None
    secret = the_encryption_key(encryption_key, firmware)
    data = read_file(file)
    found = checks(data, public, encryption_key=secret, uuid=wanted, where=str(file))
    if as_json:
        rows = [{"check": c.check, "outcome": c.outcome, "why": c.why} for c in found]
        typer.echo(json.dumps({"file": str(file), "checks": rows}))
    else:
        for one in found:
            typer.echo(f"{one.check:12} {one.outcome:8} {one.why}")
    if any(one.outcome == FAIL for one in found):
        raise typer.Exit(IntegrityFailure.exit_status)
    if not headers_only and any(one.outcome == UNKNOWN for one in found):
        raise Misuse(
            f"{file} is encrypted, so its contents could not be checked",
            hint="Say --encryption-key FILE; or --headers-only, to check what can be without it.",
        )


def describe(file: TaFile) -> dict[str, object]:
    """All of a file's fields, for JSON."""
    told: dict[str, object] = {"size": file.size, "subkeys": [], "type": 3}
    told["subkeys"] = [
        {
            "uuid": str(subkey.uuid),
            "version": subkey.version,
            "max_depth": subkey.max_depth,
            "name_size": subkey.name_size,
            "next_name": subkey.name.rstrip(b"\0").decode("utf-8", errors="backslashreplace"),
            "algorithm": subkey.signed.algorithm.title,
            "key": fingerprint(subkey.public_key),
        }
        for subkey in file.subkeys
    ]
    found = file.application
    if found is not None:
        told |= {
            "type": int(found.signed.type),
            "uuid": str(found.uuid) if found.uuid else None,
            "version": found.version,
            "algorithm": found.signed.algorithm.title,
            "signature_bits": len(found.signed.signature) * 8,
            "digest": found.signed.digest.hex(),
            "payload_at": found.payload_at,
            "payload_size": found.signed.size,
            "encryption": None,
        }
        if found.encryption is not None:
            told["encryption"] = {
                "key": "class-wide" if found.encryption.class_wide else "device-specific",
                "iv": found.encryption.iv.hex(),
                "tag": found.encryption.tag.hex(),
            }
    return told


def _tell(told: object, indent: str) -> None:
    assert isinstance(told, dict)  # noqa: S101 - describe's own
    for name, value in told.items():
        if name == "type":
            value = f"{value}, {_TYPES[value]}"
        if isinstance(value, list):
            for one in value:
                typer.echo(f"{indent}subkey")
                _tell(one, indent + "  ")
        elif isinstance(value, dict):
            typer.echo(f"{indent}{name}")
            _tell(value, indent + "  ")
        else:
            typer.echo(f"{indent}{name.replace('_', ' '):16} {'-' if value is None else value}")
