"""What xtest says, read strictly: a run that does not tell its whole result has none.

The form is that of optee_test's host/adbg/src/adbg_run.c: each case's doings, then its result, and
at the end the list of results and three counts, which must agree. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

MOST_REASONS = 8
LONGEST_REASON = 300
_RESULT = re.compile(r"([a-z0-9]+_[0-9]{4}(?:_[a-z0-9_]+)?)(\.[0-9.]+)? (OK|FAILED)(?: .*)?")
_COUNT = re.compile(r"([0-9]+) (subtests?|test cases?) of which ([0-9]+) failed")
_BEGUN = re.compile(r"\* ([a-z0-9]+_[0-9]{4}(?:_[a-z0-9_]+)?)(?: |$)")
_COMPLAINT = re.compile(r"\S+\.c:[0-9]+: .*")
_RULE = re.compile(r"\+-+")
_END = "TEE test application done!"


class NotWholeError(Exception):
    """The output breaks off or contradicts itself; the message names the case that it was at."""


@dataclass(frozen=True, slots=True)
class Result:
    """One run of xtest."""

    cases: Mapping[str, bool]
    """Name → whether it passed, in the order in which they ran."""
    subtests: int
    subtests_failed: int
    reasons: tuple[str, ...]
    """The first things that were not as expected; printable, bounded."""

    @property
    def failed(self) -> list[str]:
        return [name for name, passed in self.cases.items() if not passed]


def parse(output: bytes) -> Result:
    """Raises NotWholeError."""
    lines = [line.rstrip() for line in output.decode(errors="replace").splitlines()]
    rules = [at for at, line in enumerate(lines) if _RULE.fullmatch(line)]
    if len(rules) < 2 or _END not in lines[rules[-1] :]:
        raise NotWholeError(f"xtest's output has no end; it was at {_at(lines)}")
    cases = dict(_results(lines[rules[-2] + 1 : rules[-1]]))
    counts = [found for line in lines[rules[-1] :] if (found := _COUNT.fullmatch(line))]
    if [found[2].rstrip("s") for found in counts] != ["subtest", "test case"]:
        raise NotWholeError("xtest's output does not count its subtests and cases")
    subtests, tests = [(int(found[1]), int(found[3])) for found in counts]
    if tests != (len(cases), sum(not passed for passed in cases.values())):
        raise NotWholeError(f"xtest counts {tests[0]} cases, {tests[1]} failed, and lists others")
    reasons = [_shown(line) for line in lines if _COMPLAINT.fullmatch(line)][:MOST_REASONS]
    return Result(cases, *subtests, tuple(reasons))


def _results(lines: list[str]) -> list[tuple[str, bool]]:
    """The cases among the lines of the list; subtests that failed stand there, too."""
    results = []
    for line in lines:
        if line.startswith("Result of testsuite "):
            continue
        found = _RESULT.fullmatch(line)
        if found is None:
            raise NotWholeError(f"xtest lists something that is no result: {_shown(line)!r}")
        if found[2] is None:
            results.append((found[1], found[3] == "OK"))
    return results


def _at(lines: list[str]) -> str:
    begun = [found[1] for line in lines if (found := _BEGUN.match(line))]
    return begun[-1] if begun else "its beginning"


def _shown(line: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in line)[:LONGEST_REASON]
