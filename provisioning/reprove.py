"""A provisioned box, proved again from outside: what its record claims, one check for each claim.

Nothing on the box is changed, and nothing is believed because the record says so: the record is
what is compared with. Checks that need one that failed are not run, and never look passed. A run
that did not come to its end leaves the record behind the box: that is told as what it is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import (
    BadFrame,
    IntegrityFailure,
    LinkError,
    MissingCapability,
    Misuse,
    RigError,
    TrustBoxError,
)
from harness.target import Target
from harness.tee_supplicant import NoSupplicant
from provisioning.authority import Authority
from provisioning.plan import parse_plan
from provisioning.record import load
from provisioning.record_plan import recorded
from provisioning.reprove_checks import CHECKS, Check
from provisioning.station import Station, alone_with
from provisioning.trustbox import TrustBox
from provisioning.unfinished import FILE, Unfinished, load_unfinished
from provisioning.work import Work

_LOG = logging.getLogger(__name__)
_AGAIN = "Run trustbox provision again: it goes on from what the box shows"
_BOOT_SECONDS = 300.0
_CA_SECONDS = 60.0


UNSEEN = (LinkError, MissingCapability, RigError, Misuse, NoSupplicant)
"""What says nothing about a claim: the way to the box, a part that it lacks, or nobody who answers
for its TEE."""


class Verdict(Enum):
    OK = "ok"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: ``said`` is a sentence; ``exit_status`` is that of what stopped it, 0 if ok."""

    name: str
    verdict: Verdict
    said: str
    seconds: float
    exit_status: int = 0


@dataclass(frozen=True, slots=True)
class Reproof:
    """All findings. ``rebooted``: whether the box was power-cycled for it."""

    serial: str
    record: Path
    rebooted: bool
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return all(f.verdict is Verdict.OK for f in self.findings)

    @property
    def exit_status(self) -> int:
        """0; 7 if a claim is wrong; else of what kept a check from being made."""
        if any(f.verdict is Verdict.FAILED for f in self.findings):
            return IntegrityFailure.exit_status
        return next((f.exit_status for f in self.findings if f.verdict is not Verdict.OK), 0)


def reprove(
    target: Target,
    station: Station,
    *,
    reboot: bool,
    records: Path | None = None,
    found: Callable[[Finding], None] = lambda finding: None,
    checks: Sequence[Check] = CHECKS,
) -> Reproof:
    """Check every claim of the record against the box, or those that ``checks`` are about.

    Raises only what keeps it from beginning.
    """
    directory, plan = recorded(station, target.serial, records)
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        found(finding)

    with ExitStack() as stack:
        stack.enter_context(alone_with(directory, target.serial))
        if reboot:
            target.require(Capability.POWER)
            tell(_made("reboot", lambda: _rebooted(target)))
        box = stack.enter_context(TrustBox(target, budget=station.pin_budget))
        record = load(directory / "record.json")
        work = Work(
            box=box,
            plan=plan,
            station=station,
            directory=directory,
            authority=_once(stack, station),
            earlier=record,
        )
        stack.enter_context(work.held)
        left = load_unfinished(directory, record)
        behind: list[str] = []
        for check in checks:
            if not check.wanted(work):
                continue
            lacking = [f.name for f in findings if f.verdict is not Verdict.OK]
            missing = [name for name in check.needs if name in lacking]
            if missing:
                status = next(f.exit_status for f in findings if f.name == missing[0])
                said = f"not looked at, for want of {', '.join(missing)}"
                tell(Finding(check.name, Verdict.NOT_CHECKED, said, 0.0, status))
            else:
                looked = partial(_run, check, work, left, behind)
                tell(_made(check.name, looked, ours=check.ours))
        if left is not None:
            tell(_made("run", partial(_ended, left, behind)))
    return Reproof(target.serial, directory / "record.json", reboot, tuple(findings))


def _run(check: Check, work: Work, left: Unfinished | None, behind: list[str]) -> str:
    """What it says of the box as the record has it; or else as a run left it that did not come to
    its end, which is added to ``behind``.
    """
    try:
        return check.look(work, Deadline.after(check.seconds))
    except IntegrityFailure as problem:
        if left is None or not left.touches(check.steps):
            raise
        record, plan = work.earlier, work.plan
        beside = Path(left.plan_beside)
        try:
            work.earlier = left.over(record)
            if left.plan:
                work.plan = parse_plan(left.plan.encode(), where=FILE, beside=beside)
            said = check.look(work, Deadline.after(check.seconds))
        except IntegrityFailure:
            if not left.is_amid(check.steps):
                raise
            raise Misuse(f"{problem.message}; but {left.told}", hint=_AGAIN) from problem
        finally:
            work.earlier, work.plan = record, plan
        behind.append(check.name)
        return f"{said}: not as the record says, but as an unfinished run left it"


def _ended(left: Unfinished, behind: list[str]) -> str:
    """What is to be said of a run that did not come to its end."""
    if left.exit_status == IntegrityFailure.exit_status:
        raise IntegrityFailure(left.told)
    if behind or left.begun:
        about = f"; the record does not have it yet: {', '.join(behind)}" if behind else ""
        raise Misuse(f"{left.told}{about}. {_AGAIN}")
    return f"{left.told}, and the record holds all the same"


def _made(name: str, look: Callable[[], str], *, ours: bool = False) -> Finding:
    """``ours``: what is looked at is the station's, and never held against the box."""
    began = time.monotonic()
    try:
        verdict, said, status = Verdict.OK, look(), 0
    except TrustBoxError as problem:
        unseen = ours or isinstance(problem, UNSEEN)
        verdict = Verdict.NOT_CHECKED if unseen else Verdict.FAILED
        said, status = problem.message, problem.exit_status
    except OSError as problem:
        verdict, status = Verdict.NOT_CHECKED, RigError.exit_status
        said = f"this machine did not do its part: {problem}"
    except Exception as problem:  # noqa: BLE001 - any library's, of what a box relayed
        # The box relays what is read here: what it makes a library raise must not end the proof.
        _LOG.debug("check %s", name, exc_info=True)
        verdict, status = Verdict.NOT_CHECKED, BadFrame.exit_status
        said = f"what came back cannot be read ({type(problem).__name__}: {str(problem)[:200]})"
    return Finding(name, verdict, said, time.monotonic() - began, status)


def _rebooted(target: Target) -> str:
    by = Deadline.after(_BOOT_SECONDS)
    before = _boot_id(target, by)
    target.rig.off()
    target.rig.on(by=by)
    if _boot_id(target, by) == before:
        raise IntegrityFailure(f"{target.serial} was switched off and on and did not boot")
    return "power off and on, and it booted"


def _boot_id(target: Target, by: Deadline) -> bytes:
    return target.shell.read("/proc/sys/kernel/random/boot_id", by=by)


def _once(stack: ExitStack, station: Station) -> Callable[[], Authority]:
    opened: list[Authority] = []

    def authority() -> Authority:
        if not opened:
            by = Deadline.after(_CA_SECONDS)
            opened.append(stack.enter_context(station.authority(by=by)))
        return opened[0]

    return authority
