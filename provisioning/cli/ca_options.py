"""What the commands of ``trustbox ca`` share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import BadInput
from harness.secret import Secret
from harness.shown import printable
from provisioning.authority_entry import Entry
from provisioning.authority_open import StationCa
from provisioning.authority_tokens import nobody_to_ask
from provisioning.station import Station

CA_SECONDS = 600.0
"""An HSM may take a minute for an RSA key, and a person for a PIN."""

StateDirectory = Annotated[
    Path | None, typer.Option("--state", help="Where this station keeps CA, PINs and records.")
]


def station_ca(state: Path | None) -> StationCa:
    chosen = Station(state.absolute()) if state else Station.default()
    return StationCa(chosen.state, ask=asked_pin)


def asked_pin(label: str) -> Secret:
    """From the person at the terminal, unseen; refused where there is none."""
    if not sys.stdin.isatty():
        return nobody_to_ask(label)
    typed = typer.prompt(f"PIN of token {label}", hide_input=True, err=True)
    return Secret(str(typed).encode())


def days_or_unlimited(text: str) -> int | None:
    """A number of days; None for ``unlimited``."""
    if text == "unlimited":
        return None
    if not text.isdecimal() or not 1 <= int(text[:9]) <= 36500 or len(text) > 5:
        expected = "a number of days from 1 to 36500, or unlimited"
        raise BadInput(where="the options", key="days", value=text, expected=expected)
    return int(text)


def read_number(text: str) -> int:
    """A certificate's serial number, hexadecimal, as this CA and openssl print it."""
    try:
        return int(text.replace(":", "")[:41], 16)
    except ValueError:
        raise BadInput(
            where="the options", key="number", value=text, expected="a serial number, hexadecimal"
        ) from None


def one_line(entry: Entry) -> str:
    """An entry of the index for people."""
    said = entry.status
    if entry.revoked is not None:
        said = f"revoked {entry.revoked:%Y-%m-%d} ({entry.reason})"
    elif entry.to_revoke is not None:
        said = f"to revoke ({printable(entry.to_revoke)})"
    elif entry.over:
        said = f"over ({said})"
    until = "begun, not known to be signed"
    if entry.certificate is not None:
        until = f"to {entry.certificate.not_valid_after_utc:%Y-%m-%d}"
    return f"{entry.number:040x}  {entry.device or '(box not known)':20} {until}  {said}"
