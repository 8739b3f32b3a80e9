"""``trustbox appraise``: judge evidence that was taken elsewhere. Asks no box.

Exit status 0 for a good verdict, 7 for a refused one or a bad signature, 2 for what is no evidence.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import BadInput, IntegrityFailure
from harness.target import EvidenceLevel
from provisioning.appraisal import of_the_tee
from provisioning.cli.attest import PinPath, PolicyPath
from provisioning.cli.attest_asked import read_nonce
from provisioning.cli.options import AsJson
from provisioning.cli.verdict_shown import show_findings
from provisioning.eat import LARGEST, read
from provisioning.eat_key import signer_key
from provisioning.evidence import Evidence
from provisioning.observed import Observed
from provisioning.pinned import read_pin
from provisioning.policies import DEFAULT
from provisioning.policy_file import read_policy
from provisioning.verdict import verify


@dataclass(frozen=True, slots=True)
class Kept:
    """What a file holds of one look at a box."""

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
    policy: PolicyPath = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Judge evidence of a box that is somewhere else, by a policy of your own.

    You gave the nonce (trustbox attest --nonce) and keep the policy, with the golden measurement in
    it, and the key that you pinned. What the TEE signed is checked here again; what else was seen
    of the box is worth as much as the station that signed the token. What --json printed is signed
    by no station: of it only what the TEE signed counts.
    """
    asked, wanted = read_policy(policy), read_nonce(nonce)
    pinned = read_pin(pin) if pin else None
    found = read_kept(file, signer)
    rule = asked.policy(nonce=wanted, level=level, golden=None, pinned=pinned)
    if found.observed is None:
        rule = of_the_tee(rule)
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
    return Kept(Evidence.from_dict(evidence) if evidence is not None else None, None)
