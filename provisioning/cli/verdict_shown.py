"""A verdict for people: a line for each check."""

from __future__ import annotations

import typer

from harness.shown import printable
from harness.target import Target
from provisioning.appraisal import Appraisal
from provisioning.verdict import Finding, Outcome, Verdict

_COLOURS = {
    Outcome.PASS: "green",
    Outcome.FAIL: "red",
    Outcome.ABSENT: "yellow",
    Outcome.UNKNOWN: "yellow",
}


def show(target: Target, look: Appraisal) -> None:
    """The verdict as a table for people: a line for each check, then what it is about."""
    show_findings(look.verdict)
    if (evidence := look.examination.evidence) is not None:
        typer.echo(f"attestation key   {evidence.key.fingerprint}")
        typer.echo(f"TEE measurement   {evidence.tee_memory.digest.hex()}")
        typer.echo(f"TEE UUID          {evidence.tee_uuid or 'not told'}")
    typer.echo(summary(target, look))


def show_findings(verdict: Verdict) -> None:
    for finding in verdict.findings:
        outcome = typer.style(f"{finding.outcome.value:8}", fg=_COLOURS[finding.outcome])
        typer.echo(
            f"{finding.check.value:27} {outcome} {_weight(finding):9} {printable(finding.why)}"
        )


def summary(target: Target, look: Appraisal) -> str:
    good = "good" if look.verdict.ok else "REFUSED"
    level = look.verdict.level.value
    return f"{target.name} {target.serial}: {good} (evidence level: {level})"


def _weight(finding: Finding) -> str:
    if finding.required:
        return "required"
    return "tolerated" if finding.tolerated else ""


def outcome(finding: Finding) -> str:
    return typer.style(finding.outcome.value, fg=_COLOURS[finding.outcome])
