"""A run: every step in its order, journalled, each one looking at the box before it acts.

::

    probe ──so already──────────────────────────────→ "already"
      └─not yet→ intent (on the disk) → act → confirm → "done" (on the disk)

Whatever stops a run, running it again is how to go on: a step whose effect is there is not done
twice, and nothing is believed because a journal says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import Misuse, TrustBoxError
from harness.target import Target
from provisioning.authority import Authority
from provisioning.certified import may_make_ca
from provisioning.giving_up import give_up, is_the_boxes_fault
from provisioning.http_errors import PutOff
from provisioning.journal import Journal, unended
from provisioning.ledger import Ledger
from provisioning.plan import Plan
from provisioning.record import load, observed
from provisioning.station import Station, alone_with
from provisioning.steps import EffectStep, LookStep, first_run
from provisioning.trustbox import TrustBox
from provisioning.unfinished import Changes, load_unfinished
from provisioning.work import Work

_CA_SECONDS = 60.0


class Outcome(Enum):
    DONE = "done"
    ALREADY = "already"
    CHECKED = "checked"
    PARKED = "parked"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StepReport:
    """How one step went: ``said`` is a sentence for people; seconds on the monotonic clock."""

    name: str
    outcome: Outcome
    said: str
    seconds: float


class Watcher:
    """Is told what a run does. This one keeps quiet."""

    def started(self, step: EffectStep | LookStep) -> None: ...
    def ended(self, report: StepReport) -> None: ...
    def noticed(self, said: str) -> None:
        """Something that a person must know, and that is no step."""


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A run that went through: its work, its reports, and the directory of the record."""

    work: Work
    reports: tuple[StepReport, ...]
    directory: Path


def provision(
    target: Target,
    plan: Plan,
    station: Station,
    *,
    watcher: Watcher | None = None,
    records: Path | None = None,
    steps: Callable[[], tuple[EffectStep | LookStep, ...]] | None = None,
    replaces: int | None = None,
) -> Provisioned:
    """Make of the box what the plan says, and write its record.

    ``records`` is the directory for this box's record (default: the station's), ``steps`` what to
    do instead of all that the plan asks for. ``replaces``: the number of the certificate that the
    box's new key replaces, for a box that was certified and has lost its key. If this raises,
    what was done so far is in the journal, and another run goes on from what the box shows.
    """
    directory = records or station.records(target.serial)
    watcher = watcher or Watcher()
    reports = []
    with ExitStack() as stack:
        stack.enter_context(alone_with(directory, target.serial))
        box = stack.enter_context(TrustBox(target, budget=station.pin_budget))
        earlier = load(directory / "record.json")
        before = load_unfinished(directory, earlier)
        work = Work(
            box=box,
            plan=plan,
            station=station,
            directory=directory,
            authority=_once(stack, lambda: work, watcher),
            earlier=earlier,
            replaces=replaces,
        )
        stack.enter_context(work.held)
        place = directory / "journal.jsonl"
        for left in unended(place):
            watcher.noticed(left.told)
        journal = stack.enter_context(Journal(place, work.run))
        changes = Changes(directory, before, run=work.run, plan=plan)
        for step in steps() if steps else first_run(plan):
            watcher.started(step)
            reports.append(_do(step, work, _Noted(journal, changes), watcher))
    return Provisioned(work, tuple(reports), directory)


@dataclass(frozen=True, slots=True)
class _Noted:
    """Where a run is noted: for people, and for who compares the box with its record."""

    ledger: Ledger
    changes: Changes


def _do(step: EffectStep | LookStep, work: Work, noted: _Noted, watcher: Watcher) -> StepReport:
    started = time.monotonic()
    try:
        outcome, said = _outcome(step, work, noted)
    except BaseException as problem:
        said = _why(problem)
        ended = Outcome.PARKED if isinstance(problem, PutOff) else Outcome.FAILED
        watcher.ended(StepReport(step.name, ended, said, time.monotonic() - started))
        if is_the_boxes_fault(problem):
            for told in give_up(work, f"{step.name}: {said}"):
                watcher.noticed(told)
                with _even_so():
                    noted.ledger.end("certificate", "to revoke", told)
        with _even_so():
            noted.ledger.end(step.name, ended.value, said)
        with _even_so():
            noted.changes.stopped(f"{step.name}: {said}", _status(problem))
        raise
    report = StepReport(step.name, outcome, said, time.monotonic() - started)
    noted.ledger.end(step.name, outcome.value, said)
    watcher.ended(report)
    return report


def _why(problem: BaseException) -> str:
    """Class and sentence: errors carry no secrets. Ctrl-C is told, too, in words for a screen."""
    if isinstance(problem, KeyboardInterrupt):
        return "stopped by Ctrl-C; running it again goes on from here"
    name = type(problem).__name__
    return f"{name}: {problem}" if isinstance(problem, TrustBoxError) else name


def _status(problem: BaseException) -> int:
    return problem.exit_status if isinstance(problem, TrustBoxError) else 0


def _outcome(step: EffectStep | LookStep, work: Work, noted: _Noted) -> tuple[Outcome, str]:
    by = Deadline.after(step.seconds)
    if isinstance(step, LookStep):
        return Outcome.CHECKED, step.look(work, by)
    already = step.probe(work, by)
    if already is not None:
        noted.changes.found(step.name, work.facts)
        return Outcome.ALREADY, already
    if getattr(step, "lasting", False) and not work.box.target.lasting:
        raise Misuse(
            f"{step.name} cannot be undone, and nobody permitted it for {work.box.target.serial}",
            hint=f"If it is meant: --lasting {work.box.target.serial}",
        )
    noted.ledger.begin(step.name, step.doing)
    noted.changes.begins(step.name, work.facts)
    step.act(work, by)
    said = step.confirm(work, by)
    noted.changes.did(step.name, work.facts)
    return Outcome.DONE, said


@contextmanager
def _even_so() -> Iterator[None]:
    """A journal that cannot be written must not hide why the step failed."""
    try:
        yield
    except TrustBoxError:
        return


def _once(stack: ExitStack, work: Callable[[], Work], watcher: Watcher) -> Callable[[], Authority]:
    """The station's CA, opened when a step first needs it and closed with the run."""
    opened: list[Authority] = []

    def authority() -> Authority:
        if not opened:
            by = Deadline.after(_CA_SECONDS)
            station, make = work().station, may_make_ca(work(), by)
            opened.append(stack.enter_context(station.authority(make=make, by=by)))
            if opened[0].made_now:
                place = opened[0].files.ca
                watcher.noticed(f"this station had no CA: one was made in {place}, for emulators")
                work().note("tool", ca_made=observed(True))
        return opened[0]

    return authority
