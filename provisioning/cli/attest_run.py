"""What ``trustbox attest`` does with an open box: looks, judges, shows, writes tokens."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.deadline import Deadline
from harness.errors import TrustBoxError
from harness.target import Target
from provisioning.appraisal import ATTESTING_SECONDS, Appraisal, Moved, appraise, watch
from provisioning.cli.attest_asked import Asked
from provisioning.cli.options import to_stderr
from provisioning.cli.verdict_shown import outcome, show, summary
from provisioning.private_files import write_durably

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_STARTED = 22 - 3
"""Of the words after the program's name in /proc/self/stat, which begin with the third: its start,
in ticks since the machine's (proc_pid_stat(5))."""


def attesting(
    box: Target,
    asked: Asked,
    period: float | None,
    *,
    opening: float,
    as_json: bool,
    timings: bool,
) -> bool:
    """Look once, or every ``period`` seconds until Ctrl-C; whether the last look was good.

    ``opening`` (seconds) is only told.
    """
    if period is not None:
        return _watched(box, asked, period, as_json=as_json)
    look = appraise(
        box,
        asked.policy,
        asked.pinned,
        by=Deadline.after(ATTESTING_SECONDS),
        tee_only=asked.tee_only,
        nonce=asked.nonce,
    )
    if asked.token is not None:
        write_durably(asked.token.path, token_of(look, asked.token.key), mode=0o644)
    if as_json:
        typer.echo(json.dumps(look.to_dict()))
    else:
        show(box, look)
    if timings:
        to_stderr(_timings(look, opening))
    return look.verdict.ok


def _watched(box: Target, asked: Asked, period: float, *, as_json: bool) -> bool:
    """Until Ctrl-C; whether the last look was good. Before any ended, Ctrl-C is as anywhere."""
    good: bool | None = None

    def failed(problem: TrustBoxError) -> None:
        nonlocal good
        good = False
        show_failed(box, problem, as_json=as_json)

    try:
        for look, moves in watch(
            box, asked.policy, asked.pinned, period=period, stop=threading.Event(), failed=failed
        ):
            good = look.verdict.ok
            _show_look(box, look, moves, as_json=as_json)
    except KeyboardInterrupt:
        if good is None:
            raise
        to_stderr("stopped watching")
    return bool(good)


def token_of(look: Appraisal, key: Ed25519PrivateKey) -> bytes:
    from provisioning.eat import sign  # here: who wants no token need not wait for what it needs

    found = look.examination
    return sign(
        key,
        nonce=look.nonce,
        at=int(look.at),
        evidence=found.evidence,
        observed=found.observed,
        verdict=look.verdict,
    )


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
    for line in told(look, moves):
        typer.echo(f"         {line}")


def show_failed(target: Target, problem: TrustBoxError, *, as_json: bool) -> None:
    """A look that could not be made is a line, too."""
    at = time.time()
    if as_json:
        why = {"error": type(problem).__name__, "message": problem.message}
        typer.echo(json.dumps({"at": round(at, 3), "failed": why}))
        return
    clock = time.strftime("%H:%M:%S", time.localtime(at))
    typer.echo(f"{clock} {target.name} {target.serial}: NOT LOOKED AT: {problem.message}")


def told(look: Appraisal, moves: tuple[Moved, ...]) -> list[str]:
    """What moved, then whatever else the box is refused for, as long as it is."""
    after = {move.check for move in moves}
    return [
        *(f"{m.check.value}: {m.before.value} → {outcome(m.after)}: {m.after.why}" for m in moves),
        *(
            f"{f.check.value}: {outcome(f)}: {f.why}"
            for f in look.verdict.refusals
            if f.check not in after
        ),
    ]


def _timings(look: Appraisal, opening: float) -> str:
    found = look.examination
    share = 100 * found.tee_seconds / found.seconds
    return (
        f"opening {opening:.3f} s; attesting {found.seconds:.3f} s, of which the TEE measured and"
        f" signed for {found.tee_seconds:.3f} s ({share:.0f} %) and looking at the rest took"
        f" {found.observing_seconds:.3f} s; {_whole()}"
    )


def _whole() -> str:
    """Since this process was started, Python itself and all imports with it (to 1/100 s)."""
    words = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    began = int(words[_STARTED]) / os.sysconf("SC_CLK_TCK")
    return f"whole {time.clock_gettime(time.CLOCK_BOOTTIME) - began:.2f} s"
