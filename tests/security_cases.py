"""Writes docs/security-cases.md from the tests that carry ``pytest.mark.case``; runs none of them.

::

    python -m tests.security_cases            write the table
    python -m tests.security_cases --check    exit status 1 and a line when it is not up to date

A case without a test stands in the table as "no test": the table cannot say more than the tests do.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from fixtures.case import cases, weaknesses
from fixtures.needs import needed, uses_box
from tests.page import Page, line
from tests.security_titles import TITLES

HEAD = """# Security cases

Made by `make security-cases` from the tests that carry a case's number; do not edit. A line says
what a test claims and what its outcome must be, not that it ran: for that, read the report of a
run. On a box that lacks a capability which the line names it is a skip. A *strict xfail* is a
weakness that the named firmware has: there the test fails as expected, and the run fails on the
day it passes. *No test* means just that.

| Case | Subject | Claim | Where | Outcome |
|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One case in one test; a parametrized test is one row, with how often it runs."""

    case: str
    claim: str
    where: str
    outcome: str


def rows_of(item: pytest.Item) -> Iterable[Row]:
    """Raises pytest.UsageError for a number that no case has, and for a malformed marker."""
    known = list(weaknesses(item))
    if known and not uses_box(item):
        raise pytest.UsageError(f"{item.nodeid}: weakness(...) means a box, and it asks for none")
    for case in cases(item):
        if case.id not in TITLES:
            raise pytest.UsageError(f"{item.nodeid}: {case.id} is no case of security_titles.py")
        where = f"{item.nodeid.partition('[')[0]}"
        yield Row(case.id, claim_of(item), where, outcome_of(item, case.expect))


def claim_of(item: pytest.Item) -> str:
    """The test's name in words, which is its claim, and what its docstring adds to that."""
    name = getattr(item, "originalname", None) or item.name
    claim = name.removeprefix("test_").replace("_", " ")
    told = (getattr(getattr(item, "function", None), "__doc__", None) or "").strip()
    added = " ".join(told.split("\n\n")[0].split())
    return f"{claim}. {added}" if added else claim


def outcome_of(item: pytest.Item, expect: str) -> str:
    parts = [expect or "passes"]
    parts += [f"**strict xfail** on {w.bound}: {w.reason}" for w in weaknesses(item)]
    for mark in item.iter_markers("xfail"):
        bound = f" if {mark.args[0]!r}" if mark.args else ""
        parts.append(f"**strict xfail**{bound}: {mark.kwargs.get('reason', 'no reason given')}")
    for mark in item.iter_markers("skip"):
        parts.append(f"**skipped**: {mark.kwargs.get('reason') or ' '.join(map(str, mark.args))}")
    needs = sorted(c.value for c in needed(item)) if uses_box(item) else []
    if needs:
        parts.append(f"needs {', '.join(needs)}")
    return "; ".join(parts)


def table(found: dict[Row, int]) -> str:
    lines: list[str] = []
    for case, title in TITLES.items():
        rows = sorted((r for r in found if r.case == case), key=lambda r: (r.where, r.outcome))
        if not rows:
            lines.append(f"| {case} | {title} | | | *no test* |")
        for row in rows:
            times = f" (x{found[row]})" if found[row] > 1 else ""
            cells = (case, title, row.claim, f"`{row.where}`{times}", row.outcome)
            lines.append(line(cells))
    return HEAD + "\n".join(lines) + "\n"


PAGE = Page("security-cases", "case", rows_of, table)

if __name__ == "__main__":
    sys.exit(PAGE.main())
