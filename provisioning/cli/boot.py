"""``trustbox boot``: how a box boots, and whether its boot was verified."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from harness.boot_markers import Marker
from harness.boot_registers import read_in_linux, read_in_uboot
from harness.boot_stages import Boot, StageSeen, boot_since, boots, merged
from harness.boot_state import BootState
from harness.capability import Capability
from harness.config import choose
from harness.config_bench import BenchConfig
from harness.deadline import Deadline
from harness.errors import Misuse, TrustBoxError
from harness.target import Target, World
from harness.uboot_session import held_in_uboot
from provisioning.cli.options import AsJson, Serial, TargetName, TargetsFile, opened, to_stderr

app = typer.Typer(help="How a box boots, and what that says about it.", no_args_is_help=True)

_LONGEST_SHOWN = 76

PowerCycle = Annotated[
    bool, typer.Option("--power-cycle", help="Cut the box's power and let it boot now.")
]
Seconds = Annotated[float, typer.Option(min=1, max=3600, help="How long the boot may take.")]


@app.command()
def log(
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    power_cycle: PowerCycle = False,
    seconds: Seconds = 300.0,
    as_json: AsJson = False,
) -> None:
    """The stages of a boot with their times, and what in its log somebody must know.

    \b
    trustbox boot log --target bench-07 --serial TB-0042 --power-cycle

    Without --power-cycle: the last boot that was recorded. A boot that stops says at which stage;
    then the exit status is that of the error which it ended in.
    """
    own = _own_markers(target, config)
    with opened(target, serial, config, progress=to_stderr) as found:
        if not power_cycle:
            _tell(found, _recorded(found, own), True, as_json)
            return
        found.require(Capability.POWER)
        to_stderr(f"{found.serial}: power off and on; waiting until it is up")
        found.rig.off()
        power_on = time.monotonic()
        problem: TrustBoxError | None = None
        try:
            found.rig.on(by=Deadline.after(seconds))
        except TrustBoxError as stopped:
            problem = stopped
        said = [uart.lines(since=power_on) for uart in found.consoles.values()]
        _tell(found, boot_since(said, power_on, own=own), problem is None, as_json)
        if problem is not None:
            raise problem


@app.command()
def state(
    target: TargetName = "emulator",
    serial: Serial = None,
    config: TargetsFile = None,
    power_cycle: PowerCycle = False,
    seconds: Seconds = 300.0,
    as_json: AsJson = False,
) -> None:
    """What the SoC's registers say: was the boot verified, are the fuses blown, is debug open?

    \b
    trustbox boot state --target bench-07 --serial TB-0042 --power-cycle

    With --power-cycle they are read in U-Boot, before Linux; without it only the fuses are, as far
    as Linux shows them. A box that has no such registers: absent. Nothing is ever written.
    """
    with opened(target, serial, config, progress=to_stderr) as found:
        if power_cycle:
            found.require(Capability.POWER)
            to_stderr(f"{found.serial}: power off and on; stopping it in U-Boot")
            by = Deadline.after(seconds)
            with held_in_uboot(found.rig, found.consoles[World.NORMAL], by=by) as uboot:
                read = read_in_uboot(uboot, by=by)
                to_stderr(f"{found.serial}: read; letting it boot")
        else:
            read = read_in_linux(found.shell, by=Deadline.after(seconds))
        if as_json:
            typer.echo(json.dumps({"serial": found.serial, **read.to_dict()}))
            return
        for line in _state_lines(found.serial, read):
            typer.echo(line)
        if read.absent and not power_cycle:
            to_stderr("hint: --power-cycle restarts the box and reads the registers in U-Boot")


def _own_markers(name: str, config: Path | None) -> Sequence[Marker]:
    chosen = choose(name, config)
    return chosen.boot_stages if isinstance(chosen, BenchConfig) else ()


def _recorded(found: Target, own: Sequence[Marker]) -> Boot:
    """The last boot on record that is more than a tail."""
    recorded = boots(merged(*(uart.lines() for uart in found.consoles.values())), own=own)
    whole = [boot for boot in recorded if len(boot.stages) > 1]
    if not whole:
        raise Misuse(
            f"no boot of {found.serial} was recorded: it was on before anybody listened",
            hint="--power-cycle cuts its power and records the boot that follows.",
        )
    return whole[-1]


def _tell(found: Target, boot: Boot, up: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"serial": found.serial, "up": up, **boot.to_dict()}))
        return
    typer.echo(f"{found.serial}: {boot.chain.value} chain; seconds since {boot.origin}")
    for seen in boot.stages:
        typer.echo(_stage_line(seen))
    if not boot.complete:
        if up:
            typer.echo("it is up, but its console showed no login prompt")
        else:
            typer.echo(boot.stopped)
    for finding in boot.findings:
        times = f", {finding.count} times" if finding.count > 1 else ""
        typer.echo(f"finding: {finding.name} ({finding.weight.value}{times}): {finding.meaning}")
        typer.echo(f"         {finding.line!r}")


def _stage_line(seen: StageSeen) -> str:
    since = "?" if seen.since is None else f"{seen.since:.2f}"
    lasted = "" if seen.seconds is None else f"{seen.seconds:.2f} s"
    return f"{since:>8} {seen.stage.value:14} {lasted:>9}  {seen.line[:_LONGEST_SHOWN]}"


def _state_lines(serial: str, read: BootState) -> list[str]:
    fuses = {True: "yes", False: "no", None: "-"}
    lines = [f"{serial}: secure-boot state, read by {read.source}"]
    if not read.absent:
        lines += [
            f"{'SoC':18} {read.soc or '-'}",
            f"{'boot verified':18} {fuses[read.secure]}",
            f"{'security monitor':18} {read.ssm.name.lower() if read.ssm else '-'}",
            f"{'OTPMK fused':18} {fuses[read.otpmk_fused]}",
            f"{'ITS fused':18} {fuses[read.its]}",
            f"{'fuses protected':18} {fuses[read.write_protected]}",
            f"{'debug':18} {read.debug.name.lower() if read.debug else '-'}",
        ]
        lines += [
            f"{register.value:18} {'-' if value is None else f'0x{value:08x}'}"
            for register, value in read.registers.items()
        ]
    return [*lines, *(f"finding: {told}" for told in read.findings)]
