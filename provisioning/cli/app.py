"""The commands, put together."""

from __future__ import annotations

import logging
from importlib import metadata
from typing import Annotated

import typer

from harness.errors import Misuse
from harness.wire import show_traffic
from provisioning import cli_appraise, cli_attest
from provisioning.cli import (
    bench,
    boot,
    ca,
    console,
    enroll,
    factory,
    keys,
    look,
    plans,
    provision,
    shell,
    ta,
    targets,
    verify,
)


def build() -> typer.Typer:
    """``trustbox`` with its own commands and those of other rooms."""
    app = typer.Typer(
        name="trustbox",
        help="Provision, look at and talk to TrustBox devices, real or emulated.",
        epilog="Exit status: 0 done, 2 wrong use, 3 the box cannot do that, 4 no way to the box,"
        " 5 not the pinned box, 6 the box refused, 7 integrity failure, 8 rig or image build,"
        " 9 put off by a server.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_globals)
    app.command("provision")(provision.provision)
    app.command("verify")(verify.verify)
    app.command("info")(look.info)
    cli_attest.register(app)
    cli_appraise.register(app)
    app.command("shell")(shell.shell)
    app.command("console")(console.console)
    app.add_typer(bench.app, name="bench")
    app.add_typer(boot.app, name="boot")
    app.add_typer(keys.app, name="keys")
    app.add_typer(plans.app, name="plan")
    app.add_typer(ca.app, name="ca")
    app.add_typer(ta.app, name="ta")
    app.add_typer(factory.app, name="factory")
    app.add_typer(targets.app, name="targets")
    enroll.register(app)
    for entry in sorted(metadata.entry_points(group="trustbox.commands"), key=lambda e: e.name):
        try:
            found = entry.load()
        except ImportError as problem:
            # A room whose own needs are not installed must not take all other commands with it.
            app.add_typer(_absent(entry.name, str(problem)), name=entry.name)
            continue
        app.add_typer(found, name=entry.name)
    return app


def _globals(
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Tell more; twice: tell all.")
    ] = 0,
    traffic: Annotated[bool, typer.Option(help="Show bytes on the wire. For test boxes.")] = False,
) -> None:
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("harness").setLevel(level)
    logging.getLogger("provisioning").setLevel(level)
    logging.getLogger("emulator").setLevel(level)
    if traffic:
        show_traffic()


def _absent(name: str, why: str) -> typer.Typer:
    lacking = typer.Typer(help=f"(cannot be used here: {why})", invoke_without_command=True)

    @lacking.callback()
    def refuse() -> None:
        raise Misuse(f"trustbox {name} cannot be used here: {why}")

    return lacking
