"""``trustbox targets``: which boxes there are, and whether a bench's entry is true."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from harness.bench_check import Check, Verdict, check_bench, exit_status
from harness.bench_lab import lab_directory, line_key, mark_keys
from harness.bench_lock import BenchHeld, BenchLock
from harness.bench_quarantine import quarantined
from harness.bench_quarantine import release as lift
from harness.config import TargetConfig, choose_bench, load_targets, user_file
from harness.config_bench import BenchConfig
from harness.shown import printable, printable_lines
from provisioning.cli.options import AsJson, Serial, TargetsFile
from provisioning.cli.terminal import for_people, say_line

app = typer.Typer(help="The boxes that --target can name.", no_args_is_help=True)

_SIGNS = {
    Verdict.PASS: "[green]pass[/]   ",
    Verdict.FAIL: "[red]fail[/]   ",
    Verdict.SKIPPED: "[yellow]skipped[/]",
}
Name = Annotated[str, typer.Argument(help="A bench, by its name in targets.toml.")]


@app.command("list")
def list_targets(config: TargetsFile = None, as_json: AsJson = False) -> None:
    """Name, kind, place and serial number of every target; who holds a bench; quarantines."""
    found = {name: _told(target) for name, target in sorted(load_targets(config).items())}
    if as_json:
        typer.echo(json.dumps(found))
        return
    for name, told in found.items():
        state = f"  {told['state']}" if told.get("state", "free") != "free" else ""
        place = f"  {told['place']}" if told.get("place") else ""
        typer.echo(f"{name:20} {told['kind']:8} {told['serial'] or '-':14}{place}{state}")
    typer.echo(f"targets of your own are read from {config or user_file()}", err=True)


@app.command()
def check(
    name: Name,
    serial: Serial = None,
    power: Annotated[
        bool, typer.Option("--power", help="Cut the box's power and see that it goes off.")
    ] = False,
    config: TargetsFile = None,
    as_json: AsJson = False,
) -> None:
    """Prove every line of a bench's entry, and say how to mend what is wrong.

    The exit status is 0 when nothing failed, else that of the first failure.
    """
    bench = choose_bench(name, config)
    terminal = for_people()
    checks: list[Check] = []
    with terminal.status("holding the bench") as status:
        looked = check_bench(
            bench,
            serial=serial,
            power=power,
            progress=lambda what: status.update(escape(printable(what))),
        )
        for one in looked:
            checks.append(one)
            if not as_json:
                _show(one, terminal)
    if as_json:
        ok = not exit_status(checks)
        told = [one.to_dict() for one in checks]
        typer.echo(json.dumps({"target": name, "serial": serial, "ok": ok, "checks": told}))
    else:
        typer.echo(_sum(name, checks))
    raise typer.Exit(exit_status(checks))


@app.command()
def release(name: Name, serial: Serial = None, config: TargetsFile = None) -> None:
    """Lift a bench's quarantine: somebody has looked at the box, and it is well.

    --serial is for a box that was marked on another bench and then moved here.
    """
    bench = choose_bench(name, config)
    keys = mark_keys(bench.line, serial or bench.serial)
    mark = lift(lab_directory(bench.lab_directory), keys)
    typer.echo(f"released: {mark}" if mark else f"{name} was not in quarantine")


def _show(one: Check, terminal: Console) -> None:
    say_line(terminal, f"{_SIGNS[one.verdict]} {one.name:15}", one.said)
    if one.mend:
        mend = printable_lines(one.mend)
        terminal.print(f"                        {mend}", markup=False, style="dim")


def _sum(name: str, checks: list[Check]) -> str:
    counts = {verdict: sum(one.verdict is verdict for one in checks) for verdict in Verdict}
    told = ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items() if count)
    return f"{name}: {told}"


def _told(target: TargetConfig) -> dict[str, str | None]:
    if not isinstance(target, BenchConfig):
        return {"kind": "emulator", "serial": target.serial, "profile": target.profile}
    return {
        "kind": "bench",
        "serial": target.serial,
        "preset": target.preset,
        "place": f"{target.endpoint.host}:{target.endpoint.port}",
        "state": _state(target),
    }


def _state(bench: BenchConfig) -> str:
    lab, line = lab_directory(bench.lab_directory), line_key(bench.line)
    mark = quarantined(lab, mark_keys(bench.line, bench.serial))
    if mark is not None:
        return f"in quarantine: {mark}"
    try:
        owner = BenchLock(lab, line, name=bench.name).look()
    except BenchHeld as held:
        return held.message
    return f"held by {owner}" if owner is not None else "free"
