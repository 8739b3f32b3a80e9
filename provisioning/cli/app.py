"""The commands, put together. Each is imported when it is used: ``later``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from harness.errors import Misuse
from provisioning.cli.ending import Interrupted
from provisioning.cli.later import Later, made

_DISTRIBUTION = "trustbox-harness"
OWN = (
    ("provision", "provision:provision", "Provision a box: enclave, attestation, token, key,..."),
    ("verify", "verify:verify", "Prove again what the record of a box claims, after a reboot,..."),
    ("info", "look:info", "What a box says it is, and how each part of that came to be..."),
    ("attest", "attest:attest", "Measure a box's TEE with a fresh nonce, look at the rest of..."),
    ("appraise", "appraise:appraise", "Judge evidence of a box that is somewhere else, by a..."),
    ("shell", "shell:shell", "Run one program on the box (trustbox shell -- uname -a), or..."),
    (
        "console",
        "console:console",
        "Show what the box says on its UART, and send it what is typed.",
    ),
    ("bench", "bench:app", "Boxes on benches: adopt one, pin its host key anew."),
    ("boot", "boot:app", "How a box boots, and what that says about it."),
    ("keys", "keys:app", "Keys in a box's token: list, prove, rotate, PINs."),
    ("plan", "plans:app", "Plans: what shall be true of a box."),
    ("ca", "ca:app", "The factory's CA: a root in an offline token, an issuing CA..."),
    ("ta", "ta:app", "Trusted Applications (enclaves): build, sign, encrypt,..."),
    ("factory", "factory:app", "The station's own EST server, and a provisioning service to..."),
    ("targets", "targets:app", "The boxes that --target can name."),
    ("est", "enroll:est", "Certificates from an EST server (RFC 7030)."),
    ("dps", "enroll_dps:dps", "Azure's Device Provisioning Service."),
)
"""Name, where in this package it is, and what a list of commands says of it."""


class Commands(TyperGroup):
    """``trustbox``: its own commands, and those of other rooms once one is wanted or all are."""

    _looked = False

    def make_context(self, info_name: Any, args: list[str], *rest: Any, **more: Any) -> Any:
        """Raises Misuse for an empty word among the options, whatever the command is."""
        _no_empty_words(args)
        return super().make_context(info_name, args, *rest, **more)

    def invoke(self, ctx: Any) -> Any:
        """Raises Interrupted where a command is stopped by Ctrl-C or SIGTERM."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stopped:
            raise Interrupted(stopped) from None

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return super().get_command(ctx, cmd_name) or self._others().get(cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self._others())

    def _others(self) -> dict[str, Any]:
        if not self._looked:
            self._looked = True
            from importlib import metadata  # reads every installed distribution

            found = metadata.entry_points(group="trustbox.commands")
            for entry in sorted(found, key=lambda e: e.name):
                try:
                    self.add_command(made(entry.name, entry.load()))
                except ImportError as problem:
                    # A room whose own needs are not installed must not take all others with it.
                    self.add_command(made(entry.name, _absent(entry.name, str(problem))))
        return dict(self.commands)


def build() -> TyperGroup:
    """``trustbox`` with its own commands and those of other rooms."""
    app = typer.Typer(
        name="trustbox",
        cls=Commands,
        help="Provision, look at and talk to TrustBox devices, real or emulated.",
        epilog="Exit status: 0 done, 2 wrong use, 3 the box cannot do that, 4 no way to the box,"
        " 5 not the pinned box, 6 the box refused, 7 integrity failure, 8 rig, image build or this"
        " machine's disk, 9 put off by a server.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_globals)
    group = get_group(app)
    for name, where, brief in OWN:
        group.add_command(Later(name, f"provisioning.cli.{where}", brief))
    return group


def _no_empty_words(args: Sequence[str]) -> None:
    """An unset variable of the shell is an empty word: taken as "not given" it would choose another
    box, or another directory. What follows ``--`` is for a program on the box.
    """
    for before, word in zip(("", *args), args, strict=False):
        if word == "--":
            return
        option = before if before.startswith("-") and not word else word.removesuffix("=")
        if not word or (word.startswith("--") and word.endswith("=")):
            about = f"{option} has an empty value" if option else "an argument is empty"
            raise Misuse(about, hint="Is a variable of the shell not set? Nothing was done.")


def _version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        typer.echo(f"trustbox {metadata.version(_DISTRIBUTION)}")
        raise typer.Exit


def _globals(
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Tell more; twice: tell all.")
    ] = 0,
    traffic: Annotated[bool, typer.Option(help="Show bytes on the wire. For test boxes.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Tell the version."),
    ] = False,
) -> None:
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("harness").setLevel(level)
    logging.getLogger("provisioning").setLevel(level)
    logging.getLogger("emulator").setLevel(level)
    if traffic:
        from harness.wire import show_traffic

        show_traffic()


def _absent(name: str, why: str) -> typer.Typer:
    lacking = typer.Typer(help=f"(cannot be used here: {why})", invoke_without_command=True)

    @lacking.callback()
    def refuse() -> None:
        raise Misuse(f"trustbox {name} cannot be used here: {why}")

    return lacking
