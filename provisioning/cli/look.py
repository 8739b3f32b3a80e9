"""``trustbox info``: look at a box, change nothing."""

from __future__ import annotations

import json

import typer

from harness.deadline import Deadline
from harness.shown import printable_lines
from provisioning.cli.options import AsJson, Serial, TargetName, TargetsFile, opened, to_stderr
from provisioning.trustbox import TrustBox

_SECONDS = 120.0


def info(
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    as_json: AsJson = False,
) -> None:
    """What a box says it is, and how each part of that came to be known."""
    with opened(target, serial, config, progress=to_stderr) as found, TrustBox(found) as box:
        facts = box.info.look(by=Deadline.after(_SECONDS))
        able = sorted(c.value for c in found.capabilities)
        unknown = {c.value: problem.message for c, problem in found.unknown.items()}
        if as_json:
            level = found.evidence_level.value
            told = {
                "facts": facts.to_dict(),
                "capabilities": able,
                "unknown": unknown,
                "evidence_level": level,
            }
            typer.echo(json.dumps(told))
            return
        for fact in facts:
            typer.echo(f"{fact.name:18} {fact.value or '-':44} {fact.seen.value}, {fact.source}")
        typer.echo(f"{'capabilities':18} {', '.join(able)}")
        for name, why in sorted(unknown.items()):
            typer.echo(printable_lines(f"{'unknown':18} {name}: {why}"))
