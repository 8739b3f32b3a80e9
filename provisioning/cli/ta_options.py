"""What the commands of ``trustbox ta`` share: keys, files in and out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from harness.deadline import Deadline
from harness.errors import BadInput, Misuse
from harness.secret import Secret
from harness.ta_key_file import read_ta_key
from harness.target import Firmware
from harness.targets import firmware_of
from provisioning.cli.ca_options import asked_pin
from provisioning.cli.options import to_stderr
from provisioning.enclave_format import LARGEST, Algorithm
from provisioning.enclave_make import Chain
from provisioning.enclave_signer import TaSigner, opened_signer
from provisioning.private_files import write_durably

TA_SECONDS = 1800.0
"""Naming an emulated target may have to build its image first; an HSM may ask a person."""

Key = Annotated[
    str | None,
    typer.Option(
        help="Signing key: a PEM file (RSA, mode 0600), or a pkcs11: URI with the key's id."
    ),
]
EncryptionKey = Annotated[
    Path | None,
    typer.Option(help="File with the key (64 hex digits, mode 0600) that the TA is encrypted by."),
]
Of = Annotated[
    str | None,
    typer.Option("--target", "-t", help="Instead of key files: those of this target's firmware."),
]
Serial = Annotated[str | None, typer.Option(help="With --target: which box, TB-…")]
Config = Annotated[Path | None, typer.Option("--targets", help="A targets.toml instead of yours.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where to write the result.")]
Version = Annotated[
    int, typer.Option("--ta-version", help="0 to 4294967295; a box never loads an older one again.")
]
Scheme = Annotated[str, typer.Option("--algorithm", help="pss, or pkcs1 (OP-TEE 3.6 and older).")]
ALGORITHMS = {"pss": Algorithm.PSS, "pkcs1": Algorithm.PKCS1}


def algorithm(text: str) -> Algorithm:
    if text not in ALGORITHMS:
        expected = " or ".join(ALGORITHMS)
        raise BadInput(where="--algorithm", key="algorithm", value=text, expected=expected)
    return ALGORITHMS[text]


def the_uuid(text: str, where: str = "--uuid") -> UUID:
    try:
        found = UUID(text)
    except ValueError:
        found = None
    if found is None or str(found) != text.lower():
        expected = "a UUID like e4a0f3d6-7c1b-4c52-9b8e-5d2f6a7c8b90"
        raise BadInput(where=where, key="uuid", value=text, expected=expected)
    return found


def read_file(path: Path) -> bytes:
    """Raises BadInput when it cannot be read, or is larger than any TA."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as problem:
        raise BadInput(
            where=str(path), key="the file", value=problem.strerror, expected="a readable file"
        ) from problem
    if len(data) > LARGEST:
        expected = f"at most {LARGEST} bytes"
        raise BadInput(where=str(path), key="size", value="more", expected=expected)
    return data


def write_file(path: Path, data: bytes) -> None:
    """In one step; readable by all: what a TA file hides, it hides by encryption."""
    write_durably(path, data, mode=0o644)


def the_firmware(target: str | None, serial: str | None, config: Path | None) -> Firmware:
    """What comes with the target's firmware; nothing for no target."""
    if target is None:
        if serial is not None:
            raise Misuse("--serial goes with --target")
        return Firmware()
    by = Deadline.after(TA_SECONDS)
    return firmware_of(target, serial=serial, by=by, config=config, progress=to_stderr)


@contextmanager
def the_signer(key: str | None, firmware: Firmware, by: Deadline) -> Iterator[TaSigner]:
    """Raises Misuse where no key is named."""
    chosen = key or (str(firmware.ta_signing_key) if firmware.ta_signing_key else None)
    if chosen is None:
        raise Misuse(
            "no signing key is named",
            hint="Say --key FILE, or --target emulator for the key of the emulator's image.",
        )
    from provisioning.station import Station  # here, as only what signs needs it

    state = Station.default().state
    with opened_signer(chosen, ask=asked_pin, state=state, by=by) as signer:
        yield signer


def the_encryption_key(file: Path | None, firmware: Firmware) -> Secret | None:
    return read_ta_key(file) or firmware.ta_encryption_key


def the_chain(subkey: Path | None, name: str | None) -> Chain | None:
    if subkey is None:
        if name is not None:
            raise Misuse("--name goes with --subkey")
        return None
    return Chain(read_file(subkey), name or "")
