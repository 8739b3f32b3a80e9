"""``trustbox ca show``: what the CA is and what it issued. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from harness.deadline import Deadline
from provisioning.authority_entry import Entry
from provisioning.authority_files import CaFiles
from provisioning.authority_index import Index
from provisioning.authority_keys import named
from provisioning.authority_life import fingerprint
from provisioning.authority_policy import POLICY
from provisioning.authority_publish import is_due
from provisioning.authority_rules import against_the_rules
from provisioning.authority_settings import CaSettings
from provisioning.authority_sources import Ca, of_records
from provisioning.authority_state import require_set_up
from provisioning.cli.ca_options import CA_SECONDS, StateDirectory, one_line, station_ca
from provisioning.cli.options import AsJson
from provisioning.token_public import KeyProfile

_MOST = 20
"""Lines of a list for people."""


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
    lists = _lists(ca.files.index)
    lists["not_in_the_index"] = _unknown(ca.files, ca.state / "records")
    told |= {name: [entry.to_dict() for entry in of] for name, of in lists.items()}
    if tokens:
        by = Deadline.after(CA_SECONDS)
        told["tokens"] = ca.ceremony(settings, by=by).audit(by=by)
    typer.echo(json.dumps(told) if as_json else "\n".join([_text(told), *_listed(lists)]))


def _lists(index: Index) -> dict[str, list[Entry]]:
    """What waits for a person: certificates to revoke, those that no box was seen to have (with
    those that are good beside them), and boxes that have good ones of several keys.
    """
    unfinished = [entry for entry in index.unfinished() if not entry.over]
    beside = {
        other.number: other
        for entry in unfinished
        for other in index.of_device(entry.device)
        if other.good and entry.device and other.number != entry.number
    }
    return {
        "to_revoke": [entry for entry in index.to_revoke() if not entry.over],
        "unfinished": unfinished,
        "good_until_read_back": [e for e in beside.values() if e.status == "active"],
        "against_the_rules": list(against_the_rules(index)),
    }


def _unknown(files: CaFiles, records: Path) -> list[Entry]:
    """Certificates of this CA that the records hold and the index does not."""
    ca = Ca(files.certificate("root"), files.certificate("issuing"))
    found = of_records(records, ca).entries if records.is_dir() else []
    return [entry for entry in found if files.index.get(entry.number) is None]


_TITLES = {
    "to_revoke": "to revoke (trustbox ca revoke --pending)",
    "unfinished": "unfinished: not read back from the box (its next run takes it up; if there is"
    " none any more: trustbox ca to-revoke NUMBER --why …)",
    "good_until_read_back": "good as well, until the newer one was read back",
    "against_the_rules": "of several keys, or several ways to write one serial number: such a box"
    " gets no other certificate until those that it does not have are revoked",
    "not_in_the_index": "in the records and not in the index, which may be an older copy (trustbox"
    " ca recover --records DIR adds them)",
}


def _listed(lists: Mapping[str, list[Entry]]) -> Iterator[str]:
    for name, entries in lists.items():
        if entries:
            yield f"\n{_TITLES[name]}:"
            yield from (f"  {one_line(entry)}" for entry in entries[:_MOST])
        if len(entries) > _MOST:
            yield f"  … and {len(entries) - _MOST} more: --json has all of them"


def _certificate(files: CaFiles, role: str) -> dict[str, object]:
    found, crl = files.certificate(role), files.crl(role)
    kind = KeyProfile.of(found.public_key())
    bad = [each for each in files.index.of_key(fingerprint(found)) if each.revoked]
    return {
        "revoked": bad[0].reason if bad else None,
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
