"""``trustbox keys data``: small private files in a box's token."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.deadline import Deadline
from harness.errors import BadInput, IntegrityFailure, Misuse
from provisioning.cli.keys_options import (
    KEY_SECONDS,
    Chosen,
    PinsFile,
    StateDirectory,
    TokenLabel,
    permitted_to,
    tell,
)
from provisioning.cli.options import AsJson, Lasting, Serial, TargetName, TargetsFile, to_stderr
from provisioning.on_record import attempts
from provisioning.private_files import write_durably
from provisioning.token_secrets import LARGEST_DATA

app = typer.Typer(
    help=f"Data objects in a box's token: up to {LARGEST_DATA} octets, private to its user.",
    no_args_is_help=True,
)
_LABEL = re.compile(r"[!-~](?:[ -~]{0,62}[!-~])?")
Label = Annotated[str, typer.Argument(help="Its label: 1 to 64 printable ASCII characters.")]


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
    """The data objects that trustbox put into the token: octets and label. Changes nothing."""
    chosen = Chosen(target, serial, config, token, pins, state)
    with chosen.box() as box:
        by = Deadline.after(KEY_SECONDS)
        mine = chosen.log_in(box.keys, box.target, by=by)
        found = box.keys.token.data_listed(by=by)
        if as_json:
            objects = [{"label": label, "octets": octets} for label, octets in found]
            said = {"serial": box.target.serial, "token": mine.label, "data": objects}
            typer.echo(json.dumps(said))
            return
        for label, octets in found:
            typer.echo(f"{octets:6} {label if label.isprintable() else ascii(label)}")
        if not found:
            to_stderr(f"the token {mine.label} holds no data of ours")


@app.command()
def put(
    label: Label,
    file: Annotated[Path, typer.Argument(help="What to keep; - reads standard input.")],
    target: TargetName = "emulator",
    serial: Serial = None,
    lasting: Lasting = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    pins: PinsFile = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Keep a file in the token, and read it back.

    \b
    trustbox keys data put batch batch.json --target bench-07 --serial TB-0042

    Other contents of that label are replaced only with --lasting TB-…: they are lost.
    """
    value = _contents(_checked(label), file)
    chosen = Chosen(target, serial, config, token, pins, state, lasting)
    with chosen.box() as box:
        by = Deadline.after(KEY_SECONDS)
        chosen.log_in(box.keys, box.target, by=by)
        there = box.keys.token
        before = [one for one, _ in there.data_listed(by=by) if one == label]
        new = len(before) != 1 or there.data(label, by=by) != value
        if new:
            if before:
                permitted_to(f"replacing {label} in the token", box.target)
            step, doing = f"keys data put {label}", f"keeping {len(value)} octets as {label}"
            with chosen.on_record(box.target, step, doing, by=by) as effect:
                there.store_data(label, value, by=by)
                if there.data(label, by=by) != value:
                    raise IntegrityFailure(f"the token took {label} and gives something else back")
                effect.said = f"{len(value)} octets are kept as {label}"
        tell(
            as_json,
            f"{label} of {box.target.serial}: {len(value)} octets are"
            f" {'kept' if new else 'there already'}",
            serial=box.target.serial,
            label=label,
            octets=len(value),
            sha256=hashlib.sha256(value).hexdigest(),
            stored=new,
        )


@app.command()
def get(
    label: Label,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it, mode 0600; default: stdout.")
    ] = None,
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    pins: PinsFile = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """What is kept under a label: its octets, as they are, on stdout or in a file.

    \b
    trustbox keys data get batch --out batch.json

    With --json and without --out they stand in the answer in hexadecimal.
    """
    _checked(label)
    chosen = Chosen(target, serial, config, token, pins, state)
    with chosen.box() as box:
        by = Deadline.after(KEY_SECONDS)
        chosen.log_in(box.keys, box.target, by=by)
        value = box.keys.token.data(label, by=by)
        if value is None:
            raise _nothing(label)
        if out is not None:
            write_durably(out.absolute(), value)
        elif not as_json:
            _on_stdout(value)
        tell(
            as_json,
            f"{label} of {box.target.serial}: {len(value)} octets{f' in {out}' if out else ''}",
            serial=box.target.serial,
            label=label,
            octets=len(value),
            sha256=hashlib.sha256(value).hexdigest(),
            **({} if out else {"value": value.hex()}),
        )


@app.command()
def erase(
    label: Label,
    target: TargetName = "emulator",
    serial: Serial = None,
    lasting: Lasting = None,
    config: TargetsFile = None,
    token: TokenLabel = None,
    pins: PinsFile = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Erase what is kept under a label. Needs --lasting TB-…."""
    _checked(label)
    chosen = Chosen(target, serial, config, token, pins, state, lasting)
    with chosen.box() as box:
        permitted_to(f"erasing {label}", box.target)
        by = Deadline.after(KEY_SECONDS)
        chosen.log_in(box.keys, box.target, by=by)
        step = f"keys data erase {label}"
        listed = [one for one, _ in box.keys.token.data_listed(by=by) if one == label]
        if not listed and not attempts(chosen.station, box.target.serial, step):
            raise _nothing(label)
        with chosen.on_record(box.target, step, f"erasing {label}", by=by) as effect:
            gone = box.keys.token.destroy_data(label, by=by)
            effect.said = f"{label} is erased"
        said = f"{label} of {box.target.serial} is erased"
        tell(as_json, said, serial=box.target.serial, label=label, erased=gone)


def _checked(label: str) -> str:
    if not _LABEL.fullmatch(label):
        expected = "1 to 64 printable ASCII characters, without blanks around them"
        raise BadInput(where="the command line", key="LABEL", value=label, expected=expected)
    return label


def _contents(label: str, file: Path) -> bytes:
    """Of the file; no more is read than would be kept. Raises BadInput."""
    try:
        if str(file) == "-":
            value = sys.stdin.buffer.read(LARGEST_DATA + 1)
        else:
            with file.open("rb") as opened:
                value = opened.read(LARGEST_DATA + 1)
    except OSError as problem:
        raise BadInput(
            where=str(file), key="the file", value=problem.strerror, expected="a readable file"
        ) from problem
    if not 1 <= len(value) <= LARGEST_DATA:
        told = "nothing" if not value else f"more than {LARGEST_DATA} octets"
        expected = f"1 to {LARGEST_DATA} octets for {label}"
        raise BadInput(where=str(file), key="its size", value=told, expected=expected)
    return value


def _on_stdout(value: bytes) -> None:
    """A box's octets do not get to command somebody's terminal."""
    if sys.stdout.isatty() and not value.decode(errors="replace").replace("\n", "").isprintable():
        raise Misuse(
            "what is kept there is not plain text, and standard output is a terminal",
            hint="Write it to a file with --out, or pipe it on.",
        )
    typer.echo(value, nl=False)


def _nothing(label: str) -> Misuse:
    return Misuse(f"the token keeps nothing as {label}", hint="trustbox keys data list shows all.")
