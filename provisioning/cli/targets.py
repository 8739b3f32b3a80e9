"""``trustbox targets``: which boxes there are."""

from __future__ import annotations

import json

import typer

from harness.config import load_targets, user_file
from provisioning.cli.options import AsJson, TargetsFile

app = typer.Typer(help="The boxes that --target can name.", no_args_is_help=True)


@app.command("list")
def list_targets(config: TargetsFile = None, as_json: AsJson = False) -> None:
    """Name, kind and serial number of every target."""
    found = load_targets(config)
    if as_json:
        typer.echo(json.dumps({t.name: {"serial": t.serial} for t in found.values()}))
        return
    for target in found.values():
        typer.echo(f"{target.name:20} {target.serial}")
    typer.echo(f"targets of your own are read from {config or user_file()}", err=True)
