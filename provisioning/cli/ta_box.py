"""``trustbox ta install|list|remove``: the enclaves on a box."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.deadline import Deadline
from harness.errors import DeviceRefused
from harness.target import Firmware
from provisioning.cli.options import AsJson, Serial, TargetName, TargetsFile, opened, to_stderr
from provisioning.cli.ta_options import read_file, the_uuid
from provisioning.enclave_format import RSAPublicKey
from provisioning.enclave_image import Kind, parse
from provisioning.enclave_signer import FileSigner
from provisioning.incidents import demand_none
from provisioning.station import Station
from provisioning.trustbox import TrustBox

_SECONDS = 120.0


def install(
    file: Annotated[Path, typer.Argument(help="A signed TA, in clear or encrypted.")],
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    as_json: AsJson = False,
) -> None:
    """Put a TA on a box in one step, and open it once: the box itself says whether it is good.

    One that the box refuses is taken away again, or replaced by what was there (exit status 6).
    """
    data = read_file(file)
    image = parse(data, where=str(file))
    by = Deadline.after(_SECONDS)
    with opened(target, serial, config, progress=to_stderr) as found, TrustBox(found) as box:
        # With the storage went what the TEE remembers of TAs' versions.
        demand_none(Station.default(), found.serial, but="its TEE can be asked now")
        box.enclave.install_proven(image.uuid, data, by=by)
        told = {"uuid": str(image.uuid), "version": image.version, "digest": image.digest.hex()}
        typer.echo(
            json.dumps(told)
            if as_json
            else f"{image.uuid} version {image.version}: loaded once, and is there to stay"
        )


def listed(
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    as_json: AsJson = False,
) -> None:
    """The TA files on a box: UUID, version, kind, signer, digest. Files that are none say why."""
    by = Deadline.after(_SECONDS)
    with opened(target, serial, config, progress=to_stderr) as found, TrustBox(found) as box:
        keys = known_keys(found.firmware)
        rows = []
        for one in box.enclave.installed(signers=keys, by=by):
            image = one.image
            row: dict[str, object] = {"uuid": str(one.uuid), "size": one.size, "fault": one.fault}
            if image is not None:
                encrypted = image.kind is Kind.ENCRYPTED
                row |= {
                    "version": image.version,
                    "encrypted": encrypted,
                    "subkeys": image.subkeys,
                    "signer": one.signer,
                    "digest": image.digest.hex(),
                }
            rows.append(row)
    if as_json:
        typer.echo(json.dumps({"enclaves": rows}))
        return
    for row in rows:
        if row["fault"]:
            typer.echo(f"{row['uuid']}  {row['fault']}")
            continue
        kind = "encrypted" if row["encrypted"] else "clear"
        signer, digest = row["signer"] or "unknown", str(row["digest"])[:16]
        typer.echo(
            f"{row['uuid']}  version {row['version']:<4} {kind:9} {row['size']:>8} bytes"
            f"  signer {signer}  {digest}"
        )


def remove(
    uuid: Annotated[str, typer.Argument(help="The TA's UUID.")],
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
) -> None:
    """Take a TA's file away. The box remembers its version, and what it keeps in storage."""
    wanted, by = the_uuid(uuid, "UUID"), Deadline.after(_SECONDS)
    with opened(target, serial, config, progress=to_stderr) as found, TrustBox(found) as box:
        if wanted not in {one.uuid for one in box.enclave.installed(by=by)}:
            raise DeviceRefused(f"{found.name} {found.serial} has no enclave {wanted}")
        box.enclave.remove(wanted, by=by)


def known_keys(firmware: Firmware) -> dict[str, RSAPublicKey]:
    """The keys whose signatures can be told, by name."""
    if firmware.ta_signing_key is None:
        return {}
    return {"firmware": FileSigner(firmware.ta_signing_key).public_key}
