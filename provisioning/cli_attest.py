"""``trustbox attest``: ask a box for evidence, judge it, show every check.

Exit status 0 for a good verdict, 7 for a refused one; others as in ``harness/errors.py``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from harness.deadline import Deadline
from harness.errors import BadInput, IntegrityFailure
from harness.target import Target
from provisioning.cli.options import AsJson, Serial, TargetName, TargetsFile, opened, to_stderr
from provisioning.evidence import AttestationKey, Evidence
from provisioning.policy import Check, Policy
from provisioning.verdict import Outcome, Verdict, verify

ATTESTING_SECONDS = 120.0
LARGEST_KEPT = 1 << 20
"""Characters of a file with pinned evidence; a record takes some 20,000."""
_COLOURS = {
    Outcome.PASS: "green",
    Outcome.FAIL: "red",
    Outcome.ABSENT: "yellow",
    Outcome.UNKNOWN: "yellow",
}


def register(app: typer.Typer) -> None:
    """Add the command to the CLI."""
    app.command("attest")(attest)


def attest(
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    pin: Annotated[
        Path | None, typer.Option(help="Record or evidence of the enrolment: the key to expect.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a box's TEE with a fresh nonce and judge the answer.

    The golden measurement comes with the box's firmware. Without --pin any attestation key will
    do: the verdict then says so, and the evidence holds the key for you to pin.
    """
    pinned = read_pin(pin) if pin else None
    with opened(target, serial, config, progress=to_stderr) as box:
        evidence, verdict = appraise(box, pinned, by=Deadline.after(ATTESTING_SECONDS))
    if as_json:
        typer.echo(json.dumps({"evidence": evidence.to_dict(), "verdict": verdict.to_dict()}))
    else:
        show(box, evidence, verdict)
    if not verdict.ok:
        raise typer.Exit(IntegrityFailure.exit_status)


def appraise(
    target: Target, pinned: AttestationKey | None, *, by: Deadline
) -> tuple[Evidence, Verdict]:
    """Evidence for a nonce made now, and the verdict on it by what is known about this box."""
    from provisioning.trustbox import TrustBox

    nonce = os.urandom(32)
    with TrustBox(target) as box:
        evidence = box.integrity.attest(nonce, by=by)
    policy = Policy(
        nonce=nonce,
        tee_memory=target.firmware.golden_tee,
        level=target.evidence_level,
        key=pinned,
        require=frozenset({Check.HUK}),
    )
    return evidence, verify(evidence, policy)


def read_pin(path: Path) -> AttestationKey:
    """The key in what was kept of an enrolment: evidence, the output of ``attest --json``, or a
    provisioning record. Raises BadInput."""
    try:
        with path.open(encoding="utf-8") as file:
            # One more than allowed, so that a longer file is refused instead of cut.
            kept = file.read(LARGEST_KEPT + 1)
        found = json.loads(kept)
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(
            where=str(path), key="the file", value=str(error), expected="evidence as JSON"
        ) from error
    for way in (("attestation", "evidence", "value"), ("evidence",)):
        if (inside := _inside(found, way)) is not None:
            return Evidence.from_dict(inside).key
    return Evidence.from_dict(found).key


def _inside(found: object, way: tuple[str, ...]) -> object:
    for name in way:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def show(target: Target, evidence: Evidence, verdict: Verdict) -> None:
    """The verdict as a table for people: a line for each check, then what it is about."""
    for finding in verdict.findings:
        outcome = typer.style(f"{finding.outcome.value:8}", fg=_COLOURS[finding.outcome])
        required = "required" if finding.required else ""
        typer.echo(f"{finding.check.value:27} {outcome} {required:9} {finding.why}")
    typer.echo(f"attestation key   {evidence.key.fingerprint}")
    typer.echo(f"TEE measurement   {evidence.tee_memory.digest.hex()}")
    typer.echo(f"TEE UUID          {evidence.tee_uuid or 'not told'}")
    good = "good" if verdict.ok else "REFUSED"
    typer.echo(f"{target.name} {target.serial}: {good} (evidence level: {verdict.level.value})")
