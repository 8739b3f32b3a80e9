"""Options of the key commands, and the token that they name, opened and logged in to."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from harness.deadline import Deadline
from harness.errors import Misuse
from harness.target import Target
from provisioning.cli.options import opened, to_stderr
from provisioning.journal import unended
from provisioning.keys import KeySession
from provisioning.lost_keys import Going
from provisioning.on_record import Effect, journal_of, on_record
from provisioning.pin_sources import PinSource
from provisioning.pins import Pins
from provisioning.plan import is_plan, read_plan
from provisioning.plan_pins import KeptPins, PinFile, planned_source, recorded_source
from provisioning.station import Station
from provisioning.token_state import TokenState
from provisioning.trustbox import TrustBox

KEY_SECONDS = 300.0

Purpose = Annotated[str, typer.Argument(help="The key's purpose: its label, as device-id.")]

TokenLabel = Annotated[
    str | None,
    typer.Option("--token", help="The token's label; default: the one that is initialised."),
]
PinsFile = Annotated[
    Path | None,
    typer.Option(
        "--pins",
        help="TOML file (mode 0600) with so_pin and user_pin, or a plan, whose [secrets] says where"
        " they come from; default: as the plan of the box's record, else what this station kept.",
    ),
]
StateDirectory = Annotated[
    Path | None, typer.Option("--state", help="Where this station keeps CA, PINs and records.")
]


def tell(as_json: bool, said: str, **facts: object) -> None:
    """What was done: a sentence for people, or one JSON object on standard output."""
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        to_stderr(said)


def permitted_to(do: str, target: Target) -> None:
    """Raises Misuse where nobody permitted, for this very box, what cannot be undone."""
    if not target.lasting:
        raise Misuse(
            f"{do} of {target.serial} cannot be undone",
            hint=f"Permit it with --lasting {target.serial}.",
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the options say: which box, which of its tokens, and where its PINs are."""

    target: str
    serial: str | None
    config: Path | None
    token: str | None
    pins: Path | None
    state: Path | None
    lasting: str | None = None

    @contextmanager
    def on_record(
        self,
        target: Target,
        step: str,
        doing: str,
        *,
        gone: Going | None = None,
        still: Callable[[], Collection[str]] = lambda: (),
        by: Deadline,
    ) -> Iterator[Effect]:
        """See ``on_record.on_record``; says which certificates outlive their keys, and what to do
        about them.
        """
        with on_record(
            self.station, target.serial, step, doing, gone=gone, still=still, by=by
        ) as effect:
            yield effect
        for said in effect.left.told():
            to_stderr(said)

    @property
    def station(self) -> Station:
        return Station(self.state.absolute()) if self.state else Station.default()

    @contextmanager
    def box(self) -> Iterator[TrustBox]:
        with (
            opened(
                self.target,
                self.serial,
                self.config,
                progress=to_stderr,
                lasting=self.lasting,
                state=self.state,
            ) as target,
            TrustBox(target, budget=self.station.pin_budget) as box,
        ):
            for left in unended(journal_of(self.station, target.serial)):
                to_stderr(f"note: {left.told}")
            yield box

    def find(self, keys: KeySession, target: Target, *, by: Deadline) -> TokenState:
        """The token that is meant. Raises Misuse, naming those there are."""
        there = [state for state in keys.tokens(by=by) if state.initialised]
        meant = [state for state in there if self.token in (None, state.label)]
        if len(meant) == 1:
            return meant[0]
        labels = ", ".join(repr(state.label) for state in there) or "none"
        if self.token is not None:
            what = f"{len(meant)} tokens" if meant else "no token"
            raise Misuse(f"{what} of {target.serial} labelled {self.token}; there are: {labels}")
        if not there:
            raise Misuse(
                f"no token of {target.serial} is initialised",
                hint="trustbox provision initialises one.",
            )
        raise Misuse(
            f"{target.serial} has {len(there)} tokens: {labels}", hint="Name one with --token."
        )

    def source(self, target: Target, state: TokenState) -> PinSource | None:
        """Where the token's PINs come from; None: nobody knows. Asks nobody for a PIN.

        Raises Misuse for a plan of another token.
        """
        if self.pins is None:
            return recorded_source(self.station, target.serial, state.label, state.tee_uuid)
        if not is_plan(self.pins):
            return PinFile(self.pins)
        plan = read_plan(self.pins)
        if plan.token_label != state.label:
            raise Misuse(
                f"{self.pins} is of the token {plan.token_label}, not of {state.label}",
                hint="Name the token with --token, or the plan that the box was provisioned by.",
            )
        return planned_source(plan, self.station, target.serial, state.tee_uuid)

    def known(self, target: Target, state: TokenState, *, by: Deadline) -> Pins:
        """The token's PINs. Raises Misuse where nobody knows them, and, before any PIN is tried,
        while a change of those that this station keeps is pending; else what their source raises.
        """
        source = self.source(target, state)
        if source is None:
            raise Misuse(
                f"this station has no PIN for the token {state.label} of {target.serial}",
                hint="Name the file with its PINs (so_pin and user_pin, mode 0600), or the plan by"
                " which it was provisioned: --pins FILE.",
            )
        if not isinstance(source, PinFile | KeptPins):
            to_stderr(f"PINs of {state.label}: from {source.told}")
        return source.pins(target.serial, state.tee_uuid, by=by)

    def log_in(self, keys: KeySession, target: Target, *, by: Deadline) -> TokenState:
        """Find the token and log in to it. Raises Misuse when its PIN is not known here."""
        state = self.find(keys, target, by=by)
        known = self.known(target, state, by=by)
        return keys.login(state.label, known.user, serial=state.serial, by=by)
