"""``trustbox ca show``: what the CA is and what it issued. Changes nothing."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from harness.deadline import Deadline
from provisioning.authority_files import CaFiles
from provisioning.authority_keys import named
from provisioning.authority_policy import POLICY
from provisioning.authority_publish import is_due
from provisioning.authority_settings import CaSettings
from provisioning.authority_state import require_set_up
from provisioning.cli.ca_options import CA_SECONDS, StateDirectory, one_line, station_ca
from provisioning.cli.options import AsJson
from provisioning.token_public import KeyProfile


def show(
    device: Annotated[
        str | None, typer.Option(help="The certificates of this box, newest first.")
    ] = None,
    policy: Annotated[
        bool, typer.Option("--policy", help="Which keys are allowed, how long, what for.")
    ] = False,
    tokens: Annotated[
        bool, typer.Option("--tokens", help="Look into both tokens as well: keys, attributes.")
    ] = False,
    state: StateDirectory = None,
    as_json: AsJson = False,
) -> None:
    """What the CA is: keys, certificates, CRLs, settings, and how much it issued.

    Reads files only, so it needs no PIN; --tokens asks the tokens and says what they said.
    """
    if policy:
        _show_policy(as_json)
        return
    ca = station_ca(state)
    require_set_up(ca.files)
    if device is not None:
        entries = ca.files.index.of_device(device)
        if as_json:
            typer.echo(
                json.dumps({"device": device, "certificates": [e.to_dict() for e in entries]})
            )
            return
        for entry in entries:
            typer.echo(one_line(entry))
        return
    settings = ca.files.settings() or CaSettings()
    told: dict[str, object] = {"ca": str(ca.files.ca), "settings": settings.to_dict()}
    for role in ("root", "issuing"):
        told[role] = _certificate(ca.files, role)
    told["issued"] = ca.files.index.counts()
    if tokens:
        by = Deadline.after(CA_SECONDS)
        told["tokens"] = ca.ceremony(settings, by=by).audit(by=by)
    typer.echo(json.dumps(told) if as_json else _text(told))


def _certificate(files: CaFiles, role: str) -> dict[str, object]:
    found, crl = files.certificate(role), files.crl(role)
    kind = KeyProfile.of(found.public_key())
    return {
        "subject": named(found),
        "key": kind.value if kind else None,
        "number": f"{found.serial_number:x}",
        "not_after": found.not_valid_after_utc.isoformat(),
        "sha256": found.fingerprint(hashes.SHA256()).hex(),
        "crl": None if crl is None else _crl(crl) | {"due": is_due(files, role)},
    }


def _crl(found: x509.CertificateRevocationList) -> dict[str, object]:
    number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    until = found.next_update_utc
    return {
        "number": number,
        "revoked": len(found),
        "next_update": until.isoformat() if until else None,
    }


def _text(told: dict[str, object]) -> str:
    lines = [f"{'ca':10} {told['ca']}"]
    for name in ("root", "issuing", "issued", "tokens", "settings"):
        of = told.get(name)
        for key, value in of.items() if isinstance(of, dict) else ():
            shown = json.dumps(value) if isinstance(value, dict | list) else value
            lines.append(f"{name:10} {key:14} {'-' if shown is None else shown}")
    return "\n".join(lines)


def _show_policy(as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([rule.to_dict() for rule in POLICY]))
        return
    for rule in POLICY:
        kinds = ", ".join(
            f"{kind.value}{' (default)' if kind is rule.default else ''}" for kind in rule.allowed
        )
        length = "no CA" if rule.path_length is None else f"path length {rule.path_length}"
        life = "without end" if rule.days is None else f"{rule.days} days"
        typer.echo(f"{rule.role:8} {kinds}")
        typer.echo(f"{'':8} {rule.kept}; {rule.usage}; {length}; {life}")
