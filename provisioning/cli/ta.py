"""``trustbox ta``: Trusted Application files, from the source to the box."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.cli import ta_box, ta_package, ta_told
from provisioning.cli.options import to_stderr
from provisioning.cli.ta_options import (
    TA_SECONDS,
    Config,
    EncryptionKey,
    Key,
    Of,
    Out,
    Scheme,
    Serial,
    Version,
    algorithm,
    read_file,
    the_chain,
    the_encryption_key,
    the_firmware,
    the_signer,
    the_uuid,
    write_file,
)
from provisioning.enclave_build import build_enclave, enclave_uuid
from provisioning.enclave_make import (
    Sealing,
    opened_ta,
    resigned_ta,
    signed_subkey,
    signed_ta,
)
from provisioning.enclave_signer import read_public_key
from provisioning.pkcs11_uri import is_uri

app = typer.Typer(
    help="Trusted Applications (enclaves): build, sign, encrypt, check, load, package.",
    epilog="From source to box: ta build DIR -o X.ta --target emulator; ta encrypt X.ta -o Y.ta"
    " --target emulator --serial TB-…; ta verify Y.ta --target emulator --serial TB-…; ta install"
    " Y.ta --serial TB-…. For a real box the keys are files: --key, --encryption-key."
    " docs/enclaves.md has the whole story.",
    no_args_is_help=True,
)
app.command("inspect")(ta_told.inspect)
app.command("verify")(ta_told.verify)
app.command("install")(ta_box.install)
app.command("list")(ta_box.listed)
app.command("remove")(ta_box.remove)
app.command("package")(ta_package.pack)

Subkey = Annotated[
    Path | None, typer.Option(help="A subkey file to stand in front; --key is then its key.")
]
Name = Annotated[str | None, typer.Option(help="With --subkey: the name below the last subkey.")]


@app.command()
def build(
    source: Annotated[Path, typer.Argument(help="Directory with Makefile, sub.mk and C source.")],
    out: Out,
    devkit: Annotated[
        Path | None, typer.Option(help="TA dev kit (export-ta_arm64) of the box's OP-TEE.")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="Signing key: a PEM file (RSA, mode 0600). For one in an HSM see resign."
        ),
    ] = None,
    target: Of = None,
    serial: Serial = None,
    config: Config = None,
) -> None:
    """Compile a TA with the dev kit of the firmware that will load it, and sign it.

    Start from a copy of provisioning/enclaves/sample; its sample.c says how. Without --devkit and
    --key both come from the firmware of --target (the emulator's, if none is named).
    """
    if key is not None and is_uri(str(key)):
        raise Misuse(
            "the dev kit signs with a PEM file, not with a key in a token",
            hint="Build with any key of your own, then: trustbox ta resign FILE --key pkcs11:…",
        )
    if devkit is None or key is None:
        firmware = the_firmware(target or "emulator", serial, config)
        devkit, key = devkit or firmware.devkit, key or firmware.ta_signing_key
    if devkit is None or key is None:
        raise Misuse("no dev kit and signing key are at hand", hint="Say --devkit and --key.")
    uuid = enclave_uuid(source)
    to_stderr(f"building {uuid} from {source}")
    made = build_enclave(source, devkit=devkit, key=key, by=Deadline.after(TA_SECONDS))
    write_file(out, made)
    to_stderr(f"{out}: {len(made)} bytes. trustbox ta inspect shows it.")


@app.command()
def sign(
    elf: Annotated[Path, typer.Argument(help="The TA's ELF file (<uuid>.stripped.elf).")],
    uuid: Annotated[str, typer.Option(help="The TA's UUID.")],
    out: Out,
    key: Key = None,
    version: Version = 0,
    scheme: Scheme = "pss",
    subkey: Subkey = None,
    name: Name = None,
    target: Of = None,
    serial: Serial = None,
    config: Config = None,
) -> None:
    """Sign an ELF file: the result is what a box loads, in clear. See encrypt to hide it."""
    by, firmware = Deadline.after(TA_SECONDS), the_firmware(target, serial, config)
    wanted, how, chain = the_uuid(uuid), algorithm(scheme), the_chain(subkey, name)
    data = read_file(elf)
    with the_signer(key, firmware, by) as signer:
        made = signed_ta(
            data,
            uuid=wanted,
            signer=signer,
            version=version,
            algorithm=how,
            chain=chain,
            where=str(elf),
            by=by,
        )
    write_file(out, made)


@app.command()
def encrypt(
    file: Annotated[Path, typer.Argument(help="A signed TA in clear.")],
    out: Out,
    key: Key = None,
    encryption_key: EncryptionKey = None,
    class_wide: Annotated[
        bool,
        typer.Option("--class-wide", help="The key is a class's, not one box's: needs a platform."),
    ] = False,
    subkey: Subkey = None,
    name: Name = None,
    target: Of = None,
    serial: Serial = None,
    config: Config = None,
) -> None:
    """Encrypt a signed TA, so that only the TEE of the box with that key can read it.

    It is signed anew, as the signature covers how it is encrypted. UUID, version and algorithm
    stay.
    """
    by, firmware = Deadline.after(TA_SECONDS), the_firmware(target, serial, config)
    secret = the_encryption_key(encryption_key, firmware)
    if secret is None:
        raise Misuse(
            "no encryption key is named",
            hint="Say --encryption-key FILE, or --target emulator --serial TB-… for an emulated"
            " box's own.",
        )
    application, elf = opened_ta(read_file(file), key=None, where=str(file))
    if application.uuid is None or application.version is None:
        raise Misuse(f"{file} has no UUID (type 0): sign its ELF file instead")
    chain = the_chain(subkey, name)
    with the_signer(key, firmware, by) as signer:
        made = signed_ta(
            elf,
            uuid=application.uuid,
            signer=signer,
            version=application.version,
            algorithm=application.signed.algorithm,
            sealing=Sealing(secret, class_wide),
            chain=chain,
            where=str(file),
            by=by,
        )
    write_file(out, made)


@app.command()
def resign(
    file: Annotated[Path, typer.Argument(help="A signed TA, in clear or encrypted.")],
    out: Out,
    key: Key = None,
    version: Annotated[
        int | None, typer.Option("--ta-version", help="Another version than it has.")
    ] = None,
    scheme: Annotated[
        str | None, typer.Option("--algorithm", help="Another one than it has: pss or pkcs1.")
    ] = None,
    encryption_key: EncryptionKey = None,
    target: Of = None,
    serial: Serial = None,
    config: Config = None,
) -> None:
    """Sign a TA that another key had signed; subkeys in front of it go.

    An encrypted one needs its encryption key only where the signed hash changes: another version,
    algorithm, or size of the key. One whose contents are damaged is refused (exit status 7).
    """
    by, firmware = Deadline.after(TA_SECONDS), the_firmware(target, serial, config)
    how = algorithm(scheme) if scheme else None
    secret = the_encryption_key(encryption_key, firmware)
    with the_signer(key, firmware, by) as signer:
        made = resigned_ta(
            read_file(file),
            signer=signer,
            version=version,
            algorithm=how,
            key=secret,
            where=str(file),
            by=by,
        )
    write_file(out, made)


@app.command()
def subkey(
    public: Annotated[Path, typer.Argument(help="PEM file of the key that is to sign TAs.")],
    uuid: Annotated[str, typer.Option(help="The subkey's UUID: its name space.")],
    out: Out,
    name_size: Annotated[
        int, typer.Option(help="Longest name below it, bytes; 0: this one UUID and no names.")
    ] = 64,
    key: Key = None,
    max_depth: Annotated[int, typer.Option(help="How many subkeys may follow it.")] = 0,
    subkey_version: Annotated[int, typer.Option(help="For its rollback protection.")] = 0,
    scheme: Scheme = "pss",
    parent: Annotated[Path | None, typer.Option(help="A subkey file that it is below.")] = None,
    name: Annotated[str | None, typer.Option(help="With --parent: its name there.")] = None,
    target: Of = None,
    serial: Serial = None,
    config: Config = None,
) -> None:
    """Let somebody else's key sign TAs in a name space of its own (OP-TEE 3.21 and newer)."""
    by, firmware = Deadline.after(TA_SECONDS), the_firmware(target, serial, config)
    holder, space, how = read_public_key(public), the_uuid(uuid), algorithm(scheme)
    chain = the_chain(parent, name)
    with the_signer(key, firmware, by) as signer:
        made = signed_subkey(
            holder,
            uuid=space,
            signer=signer,
            name_size=name_size,
            max_depth=max_depth,
            version=subkey_version,
            algorithm=how,
            chain=chain,
            by=by,
        )
    write_file(out, made)
