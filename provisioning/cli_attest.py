"""``trustbox attest``: ask a box for evidence, judge it, show every check.

Exit status 0 for a good verdict, 7 for a refused one; others as in ``harness/errors.py``.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.deadline import Deadline
from harness.errors import BadInput, IntegrityFailure, Misuse
from harness.target import Target
from provisioning.appraisal import ATTESTING_SECONDS, Appraisal, Moved, appraise, watch
from provisioning.cli.options import AsJson, Serial, TargetName, TargetsFile, opened, to_stderr
from provisioning.eat import sign
from provisioning.eat_key import NAME, signing_key
from provisioning.evidence import NONCE_SIZES
from provisioning.pinned import read_pin
from provisioning.policy_file import DEFAULT, Pinned, PolicyFile, read_policy
from provisioning.private_files import write_durably
from provisioning.station import Station
from provisioning.verdict import Finding, Outcome, Verdict

_COLOURS = {
    Outcome.PASS: "green",
    Outcome.FAIL: "red",
    Outcome.ABSENT: "yellow",
    Outcome.UNKNOWN: "yellow",
}
PolicyPath = Annotated[
    Path,
    typer.Option(
        help=f"What must hold. Without it: {DEFAULT.name} of the package, which you copy."
    ),
]
PinPath = Annotated[
    Path | None,
    typer.Option(
        help="What was kept of the enrolment: the key to expect, and from attest --json also the"
        " TA files and the sealed counter."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to the CLI."""
    app.command("attest")(attest)


def attest(
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    pin: PinPath = None,
    policy: PolicyPath = DEFAULT,
    nonce: Annotated[
        str | None,
        typer.Option(help="16 to 64 bytes in hex by somebody who will verify. Default: made now."),
    ] = None,
    eat: Annotated[
        Path | None,
        typer.Option(help="Write the evidence here too, as a signed token (EAT, RFC 9711)."),
    ] = None,
    eat_key: Annotated[
        Path | None,
        typer.Option(
            help="The Ed25519 key (PEM, 0600) that signs it, made on first use; its public half"
            " lies beside it. Default: eat-key.pem in the station's data directory."
        ),
    ] = None,
    period: Annotated[
        float | None,
        typer.Option(
            "--watch",
            min=1.0,
            help="Look again every so many seconds until Ctrl-C, and tell which check moved.",
        ),
    ] = None,
    tee_only: Annotated[
        bool, typer.Option(help="The TEE's measurements alone: writes nothing, and is quickest.")
    ] = False,
    timings: Annotated[bool, typer.Option(help="Tell where the time went.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a box's TEE with a fresh nonce, look at the rest of the box, and judge the answers.

    The golden measurement comes with the box's firmware. Without --pin any attestation key will
    do: the verdict then says so, and the evidence holds the key for you to pin.

    Nothing on the box changes, but for a moment a TA lies in its TA directory that it must refuse.
    With --watch each look is a line (with --json an object a line), and the exit status is that of
    the last look.
    """
    pinned = read_pin(pin) if pin else None
    asked = read_policy(policy)
    challenge = read_nonce(nonce) if nonce is not None else None
    key = signing_key(eat_key or Station.default().state / NAME) if eat is not None else None
    if period is not None and (eat is not None or challenge is not None or tee_only):
        raise Misuse(
            "--watch makes a nonce for each look and writes no token: leave the others out"
        )
    began = time.monotonic()
    with opened(target, serial, config, progress=to_stderr) as box:
        if period is not None:
            good = _watched(box, asked, pinned, period, as_json=as_json)
        else:
            opening = time.monotonic() - began
            look = appraise(
                box,
                asked,
                pinned,
                by=Deadline.after(ATTESTING_SECONDS),
                tee_only=tee_only,
                nonce=challenge,
            )
            if eat is not None and key is not None:
                write_durably(eat, token_of(look, key), mode=0o644)
            good = look.verdict.ok
            if as_json:
                typer.echo(json.dumps(look.to_dict()))
            else:
                show(box, look)
            if timings:
                to_stderr(_timings(look, opening))
    if not good:
        raise typer.Exit(IntegrityFailure.exit_status)


def _watched(
    box: Target, policy: PolicyFile, pinned: Pinned | None, period: float, *, as_json: bool
) -> bool:
    """Until Ctrl-C; whether the last look was good."""
    good = True
    try:
        for look, moves in watch(box, policy, pinned, period=period, stop=threading.Event()):
            good = look.verdict.ok
            _show_look(box, look, moves, as_json=as_json)
    except KeyboardInterrupt:
        to_stderr("stopped watching")
    return good


def read_nonce(text: str) -> bytes:
    """Raises BadInput."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) not in NONCE_SIZES:
        raise BadInput(
            where="--nonce", key="the nonce", value=text, expected="16 to 64 bytes in hex"
        )
    return found


def token_of(look: Appraisal, key: Ed25519PrivateKey) -> bytes:
    found = look.examination
    return sign(
        key,
        nonce=look.nonce,
        at=int(look.at),
        evidence=found.evidence,
        observed=found.observed,
        verdict=look.verdict,
    )


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
        typer.echo(f"{finding.check.value:27} {outcome} {_weight(finding):9} {finding.why}")


def summary(target: Target, look: Appraisal) -> str:
    good = "good" if look.verdict.ok else "REFUSED"
    level = look.verdict.level.value
    return f"{target.name} {target.serial}: {good} (evidence level: {level})"


def _weight(finding: Finding) -> str:
    if finding.required:
        return "required"
    return "tolerated" if finding.tolerated else ""


def _show_look(target: Target, look: Appraisal, moves: tuple[Moved, ...], *, as_json: bool) -> None:
    if as_json:
        names = [
            {"check": m.check.value, "before": m.before.value, "after": m.after.outcome.value}
            for m in moves
        ]
        typer.echo(json.dumps({"at": round(look.at, 3), "moved": names, **look.to_dict()}))
        return
    clock = time.strftime("%H:%M:%S", time.localtime(look.at))
    typer.echo(f"{clock} {summary(target, look)}")
    told = [
        f"{m.check.value}: {m.before.value} → {_outcome(m.after)}: {m.after.why}" for m in moves
    ]
    if not moves:
        told = [f"{f.check.value}: {_outcome(f)}: {f.why}" for f in look.verdict.refusals]
    for line in told:
        typer.echo(f"         {line}")


def _outcome(finding: Finding) -> str:
    return typer.style(finding.outcome.value, fg=_COLOURS[finding.outcome])


def _timings(look: Appraisal, opening: float) -> str:
    found = look.examination
    share = 100 * found.tee_seconds / found.seconds
    return (
        f"opening {opening:.3f} s; attesting {found.seconds:.3f} s, of which the TEE measured and"
        f" signed for {found.tee_seconds:.3f} s ({share:.0f} %) and looking at the rest took"
        f" {found.observing_seconds:.3f} s"
    )
