"""``trustbox ca``: the factory's certificate authority, from its ceremony to its CRL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated

import typer

from harness.deadline import Deadline
from harness.errors import BadInput
from provisioning.authority_ceremony import CeremonyReport
from provisioning.authority_lock import locked
from provisioning.authority_settings import CaSettings
from provisioning.authority_state import lost
from provisioning.cli import ca_issue, ca_recover, ca_revoke, ca_show
from provisioning.cli.ca_options import CA_SECONDS, StateDirectory, days_or_unlimited, station_ca
from provisioning.cli.options import AsJson, to_stderr
from provisioning.pkcs11_uri import check_typed
from provisioning.private_files import private_directory

app = typer.Typer(
    help="The factory's CA: a root in an offline token, an issuing CA in the line's token.",
    epilog="A day at the factory: ca init once, with both tokens; then put the root's token into a"
    " safe. ca issue (or trustbox provision) certifies boxes, ca revoke takes one back, ca renew"
    " --crl belongs into a daily timer. Tokens: SoftHSM2 if none is named, else"
    " pkcs11:token=LABEL?module-path=/usr/lib/libhsm.so&pin-source=file:/etc/hsm-pin; without"
    " pin-source the PIN is asked for. docs/factory-ca.md has the whole story.",
    no_args_is_help=True,
)


@app.command()
def init(
    state: StateDirectory = None,
    root_token: Annotated[
        str | None, typer.Option(help="pkcs11: URI of the root's token, which is kept offline.")
    ] = None,
    issuing_token: Annotated[
        str | None, typer.Option(help="pkcs11: URI of the issuing CA's token, at the line.")
    ] = None,
    root_key: Annotated[str | None, typer.Option(help="Kind of key, ec-p384 if not said.")] = None,
    issuing_key: Annotated[
        str | None, typer.Option(help="Kind of key, ec-p256 if not said.")
    ] = None,
    root_days: Annotated[str | None, typer.Option(help="Days, or unlimited (the default).")] = None,
    issuing_days: Annotated[
        str | None, typer.Option(help="Days (7300 if not said), or unlimited.")
    ] = None,
    device_key: Annotated[
        list[str] | None,
        typer.Option(help="A kind of key that boxes may have; repeat it. See ca show --policy."),
    ] = None,
    hardware_type: Annotated[
        str | None, typer.Option(help="OID of your type of hardware, for the boxes' names.")
    ] = None,
    crl_url: Annotated[
        str | None, typer.Option(help="Where boxes' verifiers fetch issuing.crl: http://…")
    ] = None,
    root_crl_url: Annotated[
        str | None, typer.Option(help="Where they fetch root.crl, for the issuing certificate.")
    ] = None,
    crl_days: Annotated[int | None, typer.Option(help="How long a CRL is good: 30.")] = None,
    root_crl_days: Annotated[int | None, typer.Option(help="The root's: 365.")] = None,
    new_ca: Annotated[
        bool,
        typer.Option("--new-ca", help="Records or tokens of a lost CA are here, and it is gone."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Set up the CA: both keys, both certificates, both CRLs. Both tokens must be there.

    Every step looks first and reads back afterwards. Run it again after a failure: it goes on.
    Run it again when all is done: it changes nothing and says so, without opening a token. If
    ca.json was lost, give its options again: no key is made, and the line's token must hold the
    issuing CA's.
    """
    by = Deadline.after(CA_SECONDS)
    ca = station_ca(state)
    given = {
        "root": {"token": root_token, "key": root_key, "days": root_days},
        "issuing": {"token": issuing_token, "key": issuing_key, "days": issuing_days},
        "device_keys": device_key,
        "hardware_type": hardware_type,
        "crl_url": crl_url,
        "root_crl_url": root_crl_url,
        "crl_days": crl_days,
        "root_crl_days": root_crl_days,
    }
    if not new_ca and (left := ca.left_behind(by=by)):
        raise lost(ca.files, left)
    private_directory(ca.state)
    private_directory(ca.files.ca)
    with locked(ca.files.ca, by):
        settings = _settled(ca.files.settings(), given)
        reports = ca.ceremony(settings, watcher=_tell, by=by).run(by=by)
    done = [report for report in reports if report.outcome == "done"]
    if as_json:
        told = [report.to_dict() for report in reports]
        typer.echo(json.dumps({"ca": str(ca.files.ca), "changed": bool(done), "steps": told}))
        return
    typer.echo(f"the CA is in {ca.files.ca}" if done else "nothing changed: the CA was set up")
    if done and not settings.made_by_itself:
        to_stderr("put the root's token away now: it is needed again to renew, not to issue")


def _settled(before: CaSettings | None, given: Mapping[str, object]) -> CaSettings:
    """The settings with the options in them; what may not change any more the ceremony says."""
    found = (before or CaSettings()).to_dict()
    for key, value in given.items():
        inner = found[key]
        if isinstance(value, dict) and isinstance(inner, dict):
            inner |= {name: _option(name, v) for name, v in value.items() if v is not None}
        elif value is not None:
            found[key] = value
    for role in ("root", "issuing"):
        inner = found[role]
        if isinstance(inner, dict) and inner.get("days") == "unlimited":
            inner["days"] = None
    settings = CaSettings.parse(json.dumps(found).encode(), where="the options")
    for role, typed in given.items():
        if isinstance(typed, dict) and isinstance(uri := typed.get("token"), str):
            check_typed(uri, where=f"the options, {role}.token")
    return settings


def _option(name: str, value: object) -> object:
    if name != "days" or value == "unlimited":
        return value
    if not isinstance(value, str) or not value.isdecimal():
        expected = "a number of days, or unlimited"
        raise BadInput(where="the options", key=name, value=value, expected=expected)
    return days_or_unlimited(value)


def _tell(report: CeremonyReport) -> None:
    to_stderr(f"{report.outcome:8} {report.step:20} {report.said} ({report.seconds:.1f} s)")


app.command("issue")(ca_issue.issue)
app.command("renew")(ca_issue.renew)
app.command("revoke")(ca_revoke.revoke)
app.command("to-revoke")(ca_revoke.to_revoke)
app.command("recover")(ca_recover.recover)
app.command("show")(ca_show.show)
