"""``trustbox ca recover``: the CA's index made anew when it was lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.authority_lock import locked
from provisioning.authority_recover import Recovery, carried_out, planned
from provisioning.cli.ca_options import CA_SECONDS, StateDirectory, read_number, station_ca
from provisioning.cli.options import AsJson, to_stderr

_UNKNOWN = (
    "certificates that are in no record, no copy of the index and no CRL: those issued after the"
    " backup, by EST or ca issue, to boxes that this station has no record of. They get no login"
    " here; whoever has one adds it with ca recover --records DIR"
)


def recover(
    from_: Annotated[
        Path | None, typer.Option("--from", help="A copy of index.sqlite, however old.")
    ] = None,
    crl: Annotated[
        list[Path] | None,
        typer.Option(help="A CRL as it is handed out (DER), besides those in ca/; repeat it."),
    ] = None,
    records: Annotated[
        list[Path] | None,
        typer.Option(help="A directory with certificates (PEM), besides records/; repeat it."),
    ] = None,
    issuing_serial: Annotated[
        str | None,
        typer.Option(help="Do it: the serial number of the issuing CA's certificate, hexadecimal."),
    ] = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Make the CA's lost index anew, of a backup, the published CRLs and the boxes' records.

    \b
    trustbox ca recover --from /backup/index.sqlite      # says what it would do
    trustbox ca recover --from /backup/index.sqlite --issuing-serial 3F…

    No revocation is turned back: those of all copies and CRLs are put together. The next CRL gets a
    number above all that were published. Needs no token: publish a CRL afterwards (ca renew --crl
    --now). An index that is there is kept under another name.
    """
    by, ca = Deadline.after(CA_SECONDS), station_ca(state)
    with locked(ca.files.ca, by):
        found = planned(
            ca.files, ca.state / "records", backup=from_, also=records or (), crls=crl or ()
        )
        wanted = found.issuing.serial_number
        meant = issuing_serial is not None and read_number(issuing_serial) == wanted
        aside = carried_out(ca.files, found) if meant else None
    if as_json:
        kept = str(aside) if aside else None
        typer.echo(json.dumps({**found.to_dict(), "changed": meant, "kept": kept}))
    else:
        _tell(found)
    if not meant:
        typed = "nothing was typed" if issuing_serial is None else f"{issuing_serial} was typed"
        raise Misuse(
            f"nothing was done yet: {typed}",
            hint="If this is what you want, add the serial number of issuing.pem:"
            f" --issuing-serial {wanted:x}",
        )
    if aside is not None:
        to_stderr(f"the index that was there is {aside}")
    to_stderr("made; now publish: trustbox ca renew --crl --now, and look at trustbox ca show")


def _tell(found: Recovery) -> None:
    told = found.to_dict()
    for source in found.sources:
        typer.echo(f"{'of':14} {source}")
    for name in ("certificates", "boxes", "revoked"):
        typer.echo(f"{name:14} {told[name]}")
    for role, number in found.next_crl.items():
        typer.echo(f"{'next CRL':14} {role}: {number}")
    for entry in found.numbers_only:
        typer.echo(f"{'number only':14} {entry.number:x}: revoked, and its key is not known")
    typer.echo(f"{'not known':14} {_UNKNOWN}")
