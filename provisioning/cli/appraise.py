"""``trustbox appraise``: judge evidence that was taken elsewhere. Asks no box.

Exit status 0 for a good verdict, 7 for a refused one or a bad signature, 2 for what is no evidence.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import BadInput, IntegrityFailure
from harness.target import EvidenceLevel
from provisioning.appraisal import of_what_is_signed
from provisioning.cli.attest import PinPath, PolicyPath
from provisioning.cli.attest_asked import read_nonce
from provisioning.cli.options import AsJson, to_stderr
from provisioning.cli.verdict_shown import show_findings
from provisioning.eat import LARGEST, read
from provisioning.eat_key import signer_key
from provisioning.evidence import Evidence
from provisioning.observed import Observed
from provisioning.pinned import read_pin
from provisioning.policies import DEFAULT
from provisioning.policy_file import Pinned, read_policy
from provisioning.verdict import verify


@dataclass(frozen=True, slots=True)
class Kept:
    """What a file holds of one look at a box, as far as it can be believed: without ``observed`` no
    station signed it, and its level and TEE UUID were text that anybody could have changed."""

    evidence: Evidence | None
    observed: Observed | None


def appraise(
    file: Annotated[
        Path, typer.Argument(help="A token of attest --eat, or what attest --json printed.")
    ],
    nonce: Annotated[str, typer.Option(help="The nonce that was asked with, in hex.")],
    signer: Annotated[
        Path | None, typer.Option(help="Public key (PEM) of the station that signed the token.")
    ] = None,
    level: Annotated[
        EvidenceLevel, typer.Option(help="What kind of box it must be from.")
    ] = EvidenceLevel.HARDWARE,
    pin: PinPath = None,
    any_key: Annotated[
        bool,
        typer.Option("--any-key", help="Of a token: take whatever attestation key signed in it."),
    ] = False,
    policy: PolicyPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Judge evidence of a box that is somewhere else, by a policy of your own.

    You gave the nonce (trustbox attest --nonce) and keep the policy, with the golden measurement in
    it, and the key that you pinned. What the TEE signed is checked here again; what else was seen
    of the box is worth as much as the station that signed the token. What --json printed is signed
    by no station: of it only what the TEE signed counts, it needs --pin, and it is functional at
    best (--level functional), wherever it came from.
    """
    asked, wanted = read_policy(policy), read_nonce(nonce)
    pinned = read_pin(pin) if pin else None
    found = read_kept(file, signer)
    _key_is_known(file, found, pinned, any_key=any_key)
    rule = asked.policy(nonce=wanted, level=level, golden=None, pinned=pinned)
    if found.observed is None:
        rule = of_what_is_signed(rule)
        if level is not EvidenceLevel.FUNCTIONAL:
            to_stderr(
                f"{file} is signed by no station, so nothing shows that a box of level"
                f" {level.value} answered: judge a token (attest --eat), or give --level functional"
            )
    verdict = verify(found.evidence, rule, found.observed)
    if as_json:
        typer.echo(json.dumps(verdict.to_dict()))
    else:
        show_findings(verdict)
        typer.echo(f"{file}: {'good' if verdict.ok else 'REFUSED'} (level {verdict.level.value})")
    if not verdict.ok:
        raise typer.Exit(IntegrityFailure.exit_status)


def read_kept(path: Path, signer: Path | None) -> Kept:
    """Raises BadInput, IntegrityFailure for another signature."""
    try:
        with path.open("rb") as stream:
            data = stream.read(LARGEST + 1)
    except OSError as problem:
        raise BadInput(
            where=str(path), key="the file", value=problem.strerror, expected="a token, or JSON"
        ) from problem
    if not data.lstrip().startswith(b"{"):
        if signer is None:
            raise BadInput(
                where="--signer", key="the key", value=None, expected="the signer's, for a token"
            )
        token = read(data, signer_key(signer), where=str(path))
        return Kept(token.evidence, token.observed)
    try:
        found = json.loads(data)
        evidence = found.get("evidence", found)
    except (ValueError, RecursionError, TypeError) as problem:
        raise BadInput(
            where=str(path), key="JSON", value=str(problem), expected="what attest --json prints"
        ) from problem
    if evidence is None:
        return Kept(None, None)
    said = Evidence.from_dict(evidence)
    return Kept(replace(said, level=EvidenceLevel.FUNCTIONAL, tee_uuid=None), None)


def _key_is_known(file: Path, found: Kept, pinned: Pinned | None, *, any_key: bool) -> None:
    """Without a key to expect, whoever makes a key of his own makes good evidence with it."""
    if pinned is not None:
        return
    if found.observed is None:
        raise BadInput(
            where="--pin",
            key="the attestation key",
            value=None,
            expected=f"--pin with what was kept of the enrolment: no station signed {file}",
        )
    if not any_key:
        raise BadInput(
            where="--pin",
            key="the attestation key",
            value=None,
            expected="--pin with what was kept of the enrolment, or --any-key",
        )
