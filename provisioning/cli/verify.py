"""``trustbox verify``: a provisioned box, proved again from outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import Misuse
from harness.serial_number import checked_serial
from harness.shown import printable_lines
from provisioning.cli.options import AsJson, TargetName, TargetsFile, opened
from provisioning.cli.terminal import for_people, say_line
from provisioning.record_plan import recorded
from provisioning.reprove import Finding, Reproof, Verdict, reprove
from provisioning.station import Station

_SIGNS = {
    Verdict.OK: "[green]ok[/]         ",
    Verdict.FAILED: "[red]FAILED[/]     ",
    Verdict.NOT_CHECKED: "[yellow]not checked[/]",
}


def verify(
    serial: Annotated[str, typer.Argument(help="The box's serial number: TB-…")],
    target: TargetName = "emulator",
    config: TargetsFile = None,
    reboot: Annotated[
        bool,
        typer.Option(
            "--reboot/--no-reboot", help="Power-cycle it first: what is left then counts."
        ),
    ] = True,
    out: Annotated[
        Path | None, typer.Option(help="Directory of this box's record; default: your data.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Where this station keeps CA, PINs and records.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Prove again what the record of a box claims, after a reboot, and change nothing on it.

    \b
    trustbox verify TB-0042 --target bench-07

    The key is found by its CKA_ID and signs a fresh challenge; its certificate is the same in
    token, file and record, leads to the root and is not revoked; the box makes a TLS handshake
    with the key in its token; the plan's other keys are those of the record; the provisioning
    service says assigned; the TEE is measured anew, signed by the pinned key, and so is which
    PKCS#11 TA keeps the keys; no PIN was tried wrongly; device.pem, chain.pem and root.pem beside
    the record are the box's, its issuers' and the root. Exit status: 0 all of it is so, 7
    something is not, else that of what kept a check from being made (3, 4, 8 this machine). 2: a
    run did not come to its end, and the record is behind the box: run trustbox provision again.
    """
    checked_serial(serial, where="SERIAL")
    station = Station(state.absolute()) if state else Station.default()
    records = out.absolute() if out else None
    recorded(station, serial, records)  # before a box is opened for nothing
    terminal = for_people()

    def say(line: str) -> None:
        terminal.print(printable_lines(line), markup=False, style="dim")

    def found(finding: Finding) -> None:
        sign = f"{_SIGNS[finding.verdict]} {finding.name:13}"
        say_line(terminal, sign, f"{finding.said} ({finding.seconds:.1f} s)")

    with (
        terminal.status("verifying"),
        opened(target, serial, config, progress=say, state=state) as box,
    ):
        if box.serial != serial:
            raise Misuse(f"{target} is {box.serial}, not {serial}")
        done = reprove(box, station, reboot=reboot, records=records, found=found)
    typer.echo(json.dumps(_as_data(done, target)) if as_json else printable_lines(_as_text(done)))
    if not done.ok:
        raise typer.Exit(done.exit_status)


def _as_data(done: Reproof, target: str) -> dict[str, object]:
    return {
        "serial": done.serial,
        "target": target,
        "rebooted": done.rebooted,
        "ok": done.ok,
        "exit_status": done.exit_status,
        "record": str(done.record),
        "checks": [
            {
                "name": f.name,
                "verdict": f.verdict.value,
                "said": f.said,
                "seconds": round(f.seconds, 3),
            }
            for f in done.findings
        ],
    }


def _as_text(done: Reproof) -> str:
    if done.ok:
        when = " after a reboot" if done.rebooted else ""
        return f"\n{done.serial}: all {len(done.findings)} checks hold{when}. Nothing was changed."
    wrong = [f.name for f in done.findings if f.verdict is Verdict.FAILED]
    unseen = [f.name for f in done.findings if f.verdict is Verdict.NOT_CHECKED]
    lines = [f"\n{done.serial} is not proved."]
    lines += [f"Not as the record says: {', '.join(wrong)}."] if wrong else []
    lines += [f"Not looked at: {', '.join(unseen)}."] if unseen else []
    lines.append(f"Record: {done.record}. Nothing was changed on the box.")
    return "\n".join(lines)
