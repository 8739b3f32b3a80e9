"""Prove a bench's entry line by line, and say how to mend what is wrong.

Each check is tried even if others failed, unless it needs one of those. Nothing but the lock and
the serial lines is touched before the box has told the right serial number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum

from harness import bench_serial
from harness.bench_opening import hold_rig
from harness.bench_probes import Bench, Skip
from harness.bench_probes_box import PROBES
from harness.config_bench import BenchConfig
from harness.errors import TrustBoxError
from harness.history import History
from harness.ssh import SshShell


class Verdict(Enum):
    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. ``mend`` says what to do about a failure; ``exit_status`` is that of
    the error behind it (``harness.errors``), 0 otherwise."""

    name: str
    verdict: Verdict
    said: str
    mend: str = ""
    exit_status: int = 0

    def to_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "verdict": self.verdict.value,
            "said": self.said,
            "mend": self.mend,
        }


def check_bench(
    config: BenchConfig,
    *,
    serial: str | None,
    power: bool = False,
    progress: Callable[[str], None] = lambda what: None,
    patience: float = 10.0,
) -> Iterator[Check]:
    """Check after check, as they are done. ``power`` permits to cut the box's power.

    ``progress`` hears what is being tried; ``patience`` is for what should come at once on a serial
    line, in seconds. Raises Misuse when ``serial`` is missing or is not the entry's; nothing was
    touched then. The bench is held meanwhile, and given back at the end.
    """
    serial = bench_serial.wanted(config.name, serial, config.serial)
    with ExitStack() as held:
        try:
            rig = hold_rig(config, serial=serial, progress=progress, even_quarantined=True)
        except TrustBoxError as problem:
            yield _failed("free", problem, "")
            for probe in PROBES:
                yield Check(probe.name, Verdict.SKIPPED, "the bench could not be held")
            return
        held.callback(rig.close)
        ssh = SshShell(rig.endpoint, rig.vitals, History())
        held.callback(ssh.close)
        yield Check("free", Verdict.PASS, "held by this process")
        bench, passed = Bench(rig, ssh, power, progress, patience), {"free"}
        for probe in PROBES:
            lacking = [name for name in probe.needs if name not in passed]
            if lacking:
                yield Check(probe.name, Verdict.SKIPPED, f"needs {', '.join(lacking)}")
                continue
            progress(probe.doing)
            try:
                said = probe.look(bench)
            except Skip as skipped:
                yield Check(probe.name, Verdict.SKIPPED, skipped.reason)
            except TrustBoxError as problem:
                yield _failed(probe.name, problem, probe.mend)
            else:
                passed.add(probe.name)
                yield Check(probe.name, Verdict.PASS, said)


def exit_status(checks: list[Check]) -> int:
    """That of the first failure, 0 when there is none."""
    return next((check.exit_status for check in checks if check.exit_status), 0)


def _failed(name: str, problem: TrustBoxError, mend: str) -> Check:
    hints = " ".join(filter(None, (problem.diagnostics(), mend)))
    return Check(name, Verdict.FAIL, problem.message, hints, problem.exit_status)
