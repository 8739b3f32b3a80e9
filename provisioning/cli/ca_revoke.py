"""``trustbox ca revoke|to-revoke``: certificates that are taken back, and those that are to be."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from harness.deadline import Deadline
from harness.errors import DeviceRefused, Misuse
from provisioning.authority import Authority
from provisioning.authority_entry import Entry
from provisioning.authority_life import entry_of, put_on_list
from provisioning.authority_lock import locked
from provisioning.authority_reasons import CA_REASONS
from provisioning.authority_state import require_set_up
from provisioning.cli.ca_options import (
    CA_SECONDS,
    StateDirectory,
    one_line,
    read_number,
    station_ca,
)
from provisioning.cli.options import AsJson, to_stderr


def revoke(
    number: Annotated[
        str | None, typer.Argument(help="The certificate's serial number, hexadecimal.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Instead: all certificates of this box, unfinished ones too.")
    ] = None,
    pending: Annotated[
        bool, typer.Option("--pending", help="Instead: all on the list 'to revoke' (ca show).")
    ] = False,
    issuing: Annotated[
        bool, typer.Option("--issuing", help="Instead: the issuing CA itself; needs the root.")
    ] = False,
    reason: Annotated[
        str, typer.Option(help=f"From bad to worse: {', '.join(CA_REASONS)}.")
    ] = "unspecified",
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Revoke certificates, for good, and publish the CRL. There is no way back.

    The key gets no certificate any more, and all that it has are revoked, unless the reason is
    superseded. Done again with a worse reason, that one counts and goes into the CRL. An issuing CA
    that was revoked certifies nobody any more, and all that it signed is worth nothing.
    """
    if [number is not None, device is not None, pending, issuing].count(True) != 1:
        raise Misuse("say the certificate's number, or --device, or --pending, or --issuing")
    by = Deadline.after(CA_SECONDS)
    if issuing:
        _revoke_issuing(reason, state, as_json, by)
        return
    with station_ca(state).opened(by=by) as ca:
        rows = _chosen(ca, read_number(number) if number else None, device)
        numbers = [entry.number for entry in rows]
        changed = [entry.number for entry in ca.revoke_all(numbers, reason, by=by)]
        after = [entry_of(ca.index, n) for n in dict.fromkeys([*numbers, *changed])]
        crl = ca.files.crl_path("issuing")
    if as_json:
        told = [entry.to_dict() for entry in after]
        typer.echo(json.dumps({"revoked": told, "changed": bool(changed), "crl": str(crl)}))
        return
    for entry in after:
        typer.echo(one_line(entry) + ("" if entry.number in changed else ", already"))
    if not after:
        typer.echo("nothing is on the list 'to revoke'")
    if changed:
        to_stderr(f"the CRL is {crl}: put it where it is fetched from")


def _chosen(ca: Authority, number: int | None, device: str | None) -> tuple[Entry, ...]:
    if number is not None:
        return (entry_of(ca.index, number),)
    if device is None:
        return ca.index.to_revoke()
    found = ca.index.of_device(device)
    if not found:
        raise DeviceRefused(
            f"this CA issued no certificate to {device}",
            hint="trustbox ca show lists what it issued; is the serial number right?",
        )
    return tuple(entry for entry in found if entry.revoked or not entry.over) or found


def _revoke_issuing(reason: str, state: StateDirectory, as_json: bool, by: Deadline) -> None:
    ca = station_ca(state)
    with ca.root_key(by=by) as root:
        changed = root.revoke_issuing(reason, by=by)
    place = ca.files.crl_path("root")
    if as_json:
        typer.echo(json.dumps({"crl": str(place), "changed": changed}))
    else:
        typer.echo(f"revoked{'' if changed else ' already'}: see {place}")


def to_revoke(
    number: Annotated[str, typer.Argument(help="The certificate's serial number, hexadecimal.")],
    why: Annotated[str, typer.Option(help="What is wrong with it, for whoever revokes it.")],
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Put a certificate on the list 'to revoke', say one that a run left unfinished.

    Needs no token and no PIN. Its key gets no certificate from now on. trustbox ca revoke --pending
    works the list off.
    """
    by, files = Deadline.after(CA_SECONDS), station_ca(state).files
    require_set_up(files)
    with locked(files.ca, by):
        entry = put_on_list(files.index, read_number(number), why)
    typer.echo(json.dumps(entry.to_dict()) if as_json else one_line(entry))
