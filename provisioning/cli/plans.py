"""``trustbox plan``: plans without a box."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from provisioning.plan import example_plan, read_plan

app = typer.Typer(help="Plans: what shall be true of a box.", no_args_is_help=True)


@app.command()
def example() -> None:
    """Print the documented plan that ships with the project: the start for your own."""
    typer.echo(example_plan(), nl=False)


@app.command()
def check(plan: Annotated[Path, typer.Argument(help="A plan, TOML.")]) -> None:
    """Say whether a plan can be read; touches no box."""
    read_plan(plan)
    typer.echo(f"{plan} is a plan")
