"""``trustbox bench``: a box at a serial line becomes a target; its host key is pinned anew."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.adopt import Adopted, Wish, adopt
from harness.adopt_key import default_key
from harness.adopt_repin import repin
from harness.config import choose_bench, user_file
from harness.config_secret import SecretFile
from harness.console_login import ConsoleLogin
from harness.deadline import Deadline
from provisioning.cli.options import AsJson, Serial, TargetsFile, to_stderr

app = typer.Typer(help="Boxes on benches: adopt one, pin its host key anew.", no_args_is_help=True)

Seconds = Annotated[float, typer.Option(min=10, max=3600, help="How long it may take.")]


@app.command("adopt")
def adopt_box(
    serial_url: Annotated[
        str, typer.Option(help="Its console: a device, or what pyserial takes: rfc2217://…")
    ],
    name: Annotated[str, typer.Option(help="What the bench shall be called: bench-07.")],
    serial: Annotated[
        str | None, typer.Option(help="The number on its label; the box must report the same.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Kind of box: trustbox-edge, …; else as its SoC says.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Where its SSH is reached; else the address that it has.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its SSH port.")] = 22,
    user: Annotated[str, typer.Option(help="Who logs in on the console.")] = "root",
    password_file: Annotated[
        Path | None, typer.Option(help="Whose first line is that user's password; mode 0600.")
    ] = None,
    new_password_file: Annotated[
        Path | None, typer.Option(help="For a box that wants its password changed at first.")
    ] = None,
    ssh_user: Annotated[str, typer.Option(help="Who logs in over SSH afterwards.")] = "root",
    client_key: Annotated[
        Path | None, typer.Option(help="The SSH key of this station; made when there is none.")
    ] = None,
    speed: Annotated[
        int, typer.Option(min=300, max=4_000_000, help="Of the serial line.")
    ] = 115200,
    replace: Annotated[
        bool, typer.Option("--replace", help="Have it take the place of the entry of that name.")
    ] = False,
    config: TargetsFile = None,
    seconds: Seconds = 180.0,
    as_json: AsJson = False,
) -> None:
    """Make a bench of the box at a serial line, without any network: first contact.

    \b
    trustbox bench adopt --serial-url /dev/ttyUSB0 --name bench-07 --password-file pw

    Logs in on the console, reads who the box is, lets this station's SSH key log in, and writes the
    entry into your targets file, with the host key that was read over the console.
    """
    wish = Wish(
        name=name,
        serial_url=serial_url,
        client_key=client_key or default_key(),
        speed=speed,
        serial=serial,
        preset=preset,
        address=address,
        port=port,
        user=ssh_user,
        console_user=user,
        password_file=password_file,
        new_password_file=new_password_file,
    )
    login = ConsoleLogin(
        user,
        SecretFile(password_file) if password_file else None,
        SecretFile(new_password_file) if new_password_file else None,
    )
    file = config or user_file()
    done = adopt(
        wish,
        login,
        file,
        replace=replace,
        by=Deadline.after(seconds),
        progress=to_stderr,
    )
    if as_json:
        typer.echo(json.dumps({"target": name, "file": str(file), **_told(done)}))
        return
    _show(name, file, done)


@app.command("repin")
def repin_box(
    name: Annotated[str, typer.Argument(help="A bench, by its name in targets.toml.")],
    serial: Serial = None,
    yes: Annotated[
        str | None,
        typer.Option(help="Pin the key with this fingerprint, unasked.", metavar="SHA256:…"),
    ] = None,
    config: TargetsFile = None,
    seconds: Seconds = 180.0,
    as_json: AsJson = False,
) -> None:
    """A box was reflashed and has another SSH host key: read it over the console and pin it.

    \b
    trustbox bench repin bench-07 --serial TB-0042

    It shows both fingerprints and asks; --yes answers for the one that is expected.
    """
    bench = choose_bench(name, config)

    def confirm(old: str, new: str) -> bool:
        to_stderr(f"pinned:             {old}")
        to_stderr(f"on the console now: {new}")
        if yes is not None:
            return yes == new
        return sys.stdin.isatty() and typer.confirm(f"pin the new key of {name}?", err=True)

    done = repin(
        bench,
        serial=serial,
        file=config or user_file(),
        confirm=confirm,
        by=Deadline.after(seconds),
        progress=to_stderr,
    )
    if as_json:
        told = {"old": done.old, "new": done.new, "changed": done.changed}
        typer.echo(json.dumps({"target": name, **told, "key_added": done.key_added}))
        return
    typer.echo(
        f"{name}: {done.new} is pinned now" if done.changed else f"{name}: the pinned key is right"
    )
    if done.key_added:
        typer.echo("this station's SSH key was missing on the box and was put there again")


def _told(done: Adopted) -> dict[str, object]:
    box = done.identity
    return {
        "serial": box.serial,
        "hostname": box.hostname,
        "machine": box.machine,
        "model": box.model,
        "soc": box.soc,
        "addresses": list(box.addresses),
        "host_keys": {key.kind: key.fingerprint for key in box.host_keys},
        "pinned": box.host_key.fingerprint,
        "key_added": done.key_added,
        "ssh": done.ssh or None,
        "entry": done.entry,
    }


def _show(name: str, file: Path, done: Adopted) -> None:
    box = done.identity
    for what, value in (
        ("serial number", box.serial),
        ("host name", box.hostname),
        ("model", box.model),
        ("machine", box.machine),
        ("SoC", box.soc),
        ("addresses", ", ".join(box.addresses)),
    ):
        typer.echo(f"{what:18} {value or '-'}")
    for key in box.host_keys:
        pinned = "  pinned" if key == box.host_key else ""
        typer.echo(f"{'host key':18} {key.fingerprint} {key.kind}{pinned}")
    already = "" if done.key_added else " already"
    typer.echo(f"{'SSH key':18} this station's may log in{already}")
    typer.echo(f"{'SSH':18} {done.ssh or 'answers with the pinned key'}")
    typer.echo(f"{name} is in {file}; say there how its power is switched")
    typer.echo(f"prove it: trustbox targets check {name} --serial {done.entry['serial']}", err=True)
