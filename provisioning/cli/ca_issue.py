"""``trustbox ca issue|renew``: certificates of boxes, and the CRL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509

from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.authority import Authority
from provisioning.authority_open import StationCa
from provisioning.authority_policy import DEVICE
from provisioning.certificates import pem
from provisioning.cli.ca_options import (
    CA_SECONDS,
    StateDirectory,
    days_or_unlimited,
    read_number,
    station_ca,
)
from provisioning.cli.options import AsJson, to_stderr
from provisioning.idevid import period
from provisioning.private_files import write_durably
from provisioning.request_files import request_in

Out = Annotated[Path | None, typer.Option(help="Write the chain here instead of to stdout.")]
Replaces = Annotated[
    str | None,
    typer.Option(help="Number of the box's certificate, of another key, that this one replaces."),
]
Now = Annotated[bool, typer.Option("--now", help="Even if it is not due yet.")]


def issue(
    request: Annotated[Path, typer.Argument(help="The box's request, PEM or DER; - is stdin.")],
    serial: Annotated[str, typer.Option(help="The box's serial number, as on its label: TB-…")],
    days: Annotated[str, typer.Option(help="How long it is good, or unlimited.")] = str(
        DEVICE.days
    ),
    replaces: Replaces = None,
    out: Out = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Certify a box's key: its IDevID, with the issuing CA's certificate behind it (PEM).

    The request must be signed by its key, of an allowed kind, named as the box and nothing more:
    a request for extensions is refused. Asking again for the same key gives the same certificate.
    """
    by, period = Deadline.after(CA_SECONDS), days_or_unlimited(days)
    asked, named = request_in(request), read_number(replaces) if replaces else None
    with station_ca(state).opened(by=by) as ca:
        made, new = ca.issue(asked, serial, days=period, replaces=named, by=by)
        _give(ca, made, new, out, as_json, asked=period)


def renew(
    device: Annotated[str | None, typer.Option(help="A box, by its serial number.")] = None,
    request: Annotated[
        Path | None, typer.Option(help="With --device: a request with the box's new key.")
    ] = None,
    crl: Annotated[bool, typer.Option("--crl", help="The issuing CA's CRL.")] = False,
    root_crl: Annotated[
        bool, typer.Option("--root-crl", help="The root's CRL; needs its token.")
    ] = False,
    issuing: Annotated[
        bool, typer.Option("--issuing", help="The issuing CA's certificate; needs the root's token")
    ] = False,
    days: Annotated[
        str | None, typer.Option(help="With --device: how long; if not said, as long as before.")
    ] = None,
    replaces: Replaces = None,
    now: Now = False,
    out: Out = None,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """Renew one thing: a box's certificate, a CRL, or the issuing CA's certificate.

    What is not due is left as it is, and that is said: a certificate is due in the last third of
    its life, a CRL in the second half of its own. Keys stay, but for --request.
    """
    if [device is not None, crl, root_crl, issuing].count(True) != 1:
        raise Misuse("say one of --device, --crl, --root-crl and --issuing")
    if device is None and (request is not None or days is not None):
        raise Misuse("--request and --days go with --device")
    if request is None and replaces is not None:
        raise Misuse("--replaces goes with --request")
    by, found = Deadline.after(CA_SECONDS), station_ca(state)
    if root_crl or issuing:
        _renew_with_root(found, issuing=issuing, as_json=as_json, by=by)
        return
    with found.opened(by=by) as ca:
        if device is None:
            place, new = ca.publish(now=now, by=by)
            _say({"crl": str(place), "changed": new}, as_json)
            return
        asked = request_in(request) if request else None
        named = read_number(replaces) if replaces else None
        period = days_or_unlimited(days) if days else None
        if asked is not None:
            period = period if days else DEVICE.days
            made, new = ca.issue(asked, device, days=period, replaces=named, by=by)
        else:
            made, new = ca.renew(device, days=period, unlimited=days == "unlimited", now=now, by=by)
        _give(ca, made, new, out, as_json)


def _renew_with_root(found: StationCa, *, issuing: bool, as_json: bool, by: Deadline) -> None:
    with found.root_key(by=by) as root:
        if issuing:
            made = root.renew_issuing(by=by)
            told: dict[str, object] = {"not_after": made.not_valid_after_utc.isoformat()}
        else:
            root.renew_crl(by=by)
            told = {"crl": str(found.files.crl_path("root"))}
    _say({**told, "changed": True}, as_json)


def _give(
    ca: Authority,
    made: x509.Certificate,
    new: bool,
    out: Path | None,
    as_json: bool,
    *,
    asked: int | None = None,
) -> None:
    """``asked``: for how many days; an earlier certificate is given as it is, and that is said."""
    chain = pem(made, ca.issuing)
    if out is not None:
        write_durably(out.absolute(), chain, mode=0o644)
    number, until = f"{made.serial_number:x}", made.not_valid_after_utc
    if as_json:
        told = {"number": number, "not_after": until.isoformat(), "changed": new}
        typer.echo(json.dumps({**told, "days": period(made), "chain": chain.decode()}))
        return
    if out is None:
        typer.echo(chain.decode(), nl=False)
    to_stderr(f"{'issued' if new else 'already issued'}: {number}, to {until:%Y-%m-%d}")
    if not new and asked is not None and period(made) != asked:
        to_stderr(
            f"it was issued for {period(made) or 'unlimited'} days and not for {asked}, and is left"
            " as it is: trustbox ca renew --device … --days … --now makes another"
        )
    if until > ca.issuing.not_valid_after_utc:
        to_stderr(
            f"it lasts longer than the issuing CA's own ({ca.issuing.not_valid_after_utc:%Y-%m-%d})"
            ": trustbox ca renew --issuing before that"
        )


def _say(told: dict[str, object], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(told))
        return
    what = told.get("crl") or f"the issuing CA's certificate, to {told['not_after']}"
    typer.echo(f"{'renewed' if told['changed'] else 'not due, left as it is'}: {what}")
