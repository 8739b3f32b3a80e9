"""A provisioned box, proved again from outside: what its record claims, one check for each claim.

Nothing on the box is changed, and nothing is believed because the record says so: the record is
what is compared with. Checks that need one that failed are not run, and never look passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import (
    IntegrityFailure,
    LinkError,
    MissingCapability,
    Misuse,
    RigError,
    TrustBoxError,
)
from harness.target import Target
from provisioning.authority import Authority
from provisioning.record import load
from provisioning.record_plan import recorded
from provisioning.reprove_checks import CHECKS, Check
from provisioning.station import Station, alone_with
from provisioning.trustbox import TrustBox
from provisioning.work import Work

_BOOT_SECONDS = 300.0
_CA_SECONDS = 60.0


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
) -> Reproof:
    """Check every claim of the record against the box. Raises only what keeps it from beginning."""
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
        work = Work(
            box=box,
            plan=plan,
            station=station,
            directory=directory,
            authority=_once(stack, station),
            earlier=load(directory / "record.json"),
        )
        stack.enter_context(work.held)
        for check in CHECKS:
            if not check.wanted(plan):
                continue
            lacking = [f.name for f in findings if f.verdict is not Verdict.OK]
            missing = [name for name in check.needs if name in lacking]
            if missing:
                status = next(f.exit_status for f in findings if f.name == missing[0])
                said = f"not looked at, for want of {', '.join(missing)}"
                tell(Finding(check.name, Verdict.NOT_CHECKED, said, 0.0, status))
            else:
                tell(_made(check.name, lambda check=check: _run(check, work)))  # type: ignore[misc]
    return Reproof(target.serial, directory / "record.json", reboot, tuple(findings))


def _run(check: Check, work: Work) -> str:
    return check.look(work, Deadline.after(check.seconds))


def _made(name: str, look: Callable[[], str]) -> Finding:
    began = time.monotonic()
    try:
        verdict, said, status = Verdict.OK, look(), 0
    except TrustBoxError as problem:
        # The way to the box, or a part that it lacks, says nothing about the claim itself.
        unseen = isinstance(problem, LinkError | MissingCapability | RigError | Misuse)
        verdict = Verdict.NOT_CHECKED if unseen else Verdict.FAILED
        said, status = problem.message, problem.exit_status
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
