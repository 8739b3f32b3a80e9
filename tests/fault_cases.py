"""Writes docs/faults.md from the tests that carry ``pytest.mark.fault``; runs none of them.

::

    python -m tests.fault_cases            write the page
    python -m tests.fault_cases --check    exit status 1 and a line when it is not up to date

A row of the page is one fault, what comes of it and what to do next; tests whose marks say the same
share a row::

    @pytest.mark.fault(
        "Token",
        "wrong PIN, once",
        comes="TokenRefused CKR_PIN_INCORRECT, status 6; the objects as they were, one try used",
        then="give the right PIN and run again",
    )

``case="F-01"`` beside it says that it is one of the faults that must be shown (fault_titles.py). A
test may carry several marks; in a ``pytest.param`` a mark is that row's only.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from tests.fault_titles import SECTIONS, TITLES
from tests.page import Page, line

HEAD = """# Faults

Faults that the tests make: how each ends, what is left, and what to do next. Made by `make faults`
from the tests that carry `mark.fault`; do not edit. That a test stands here does not say that it
ran: for that, read the report of a run. *No test* means just that.

Everywhere: a run that ends with an error writes no `record.json` of its own, notes its step's
`failed` (or `parked`) in the journal, and leaves a box on which running it again goes on. The
station's own trouble (status 8) is never held against a box. `trustbox --help` has the exit
statuses.

Real: nothing here is a stand-in for a token or a box, except that SoftHSM2 over SSH takes the
TEE's place where the test is in `tests/links`. CKR_DEVICE_MEMORY is another client of the TA that
holds all of its heap. The panic is a point off the curve (OP-TEE 4.10). The full storage is a
small file system of the TEE's own, filled. aziotctl is a script of the test's, as no package of
it is in reach. The session that closes in mid-sign is C_CloseAllSessions between two parts of one
signature, inside SoftHSM2's process: a TEE's sessions belong to one client each, so nobody else
can close them there, and a panic is what ends them. A dead TA comes back when the last session
with it has ended: a program on the box that keeps one (IoT Edge's key service) has to be
restarted first.
"""
COLUMNS = "| Fault | What comes, what is left | What to do next | Test |\n|---|---|---|---|\n"
DEMANDED = """
## What must be shown

The faults that the project demands tests of, and the tests that show them.

| Number | Fault | Test |
|---|---|---|
"""
KEYS = {"comes", "then", "case"}
_MACHINE = re.compile(r"(?<![\w.])/(work|tmp|home|root|Users|mnt)\b")


@dataclass(frozen=True, slots=True)
class Row:
    """One mark of one test; ``only`` is the row's id where the mark is one row's of a table."""

    section: str
    fault: str
    comes: str
    then: str
    case: str
    test: str
    only: str


def rows_of(item: pytest.Item) -> Iterable[Row]:
    """Raises pytest.UsageError for a malformed mark: the page must not say what no test does."""
    call = getattr(item, "callspec", None)
    for mark in item.iter_markers("fault"):
        wrong = fault_of(mark)
        if wrong:
            raise pytest.UsageError(f"{item.nodeid}: fault(...): {wrong}")
        yield Row(
            section=mark.args[0],
            fault=mark.args[1],
            comes=mark.kwargs["comes"],
            then=mark.kwargs["then"],
            case=mark.kwargs.get("case", ""),
            test=item.nodeid.partition("[")[0],
            only=call.id if call is not None and mark in call.marks else "",
        )


def fault_of(mark: pytest.Mark) -> str:
    """What is wrong with a mark, or ""."""
    if len(mark.args) != 2 or not {"comes", "then"} <= mark.kwargs.keys() <= KEYS:
        return "takes a section and a fault, comes=, then= and maybe case=, no more"
    for word in (*mark.args, mark.kwargs["comes"], mark.kwargs["then"]):
        if not isinstance(word, str) or not word or word != " ".join(word.split()):
            return f"{word!r} is not a line of text"
        if "|" in word or _MACHINE.search(word):
            return f"{word!r} has a | or a path of one machine"
    if mark.args[0] not in SECTIONS:
        return f"{mark.args[0]!r} is no section of fault_titles.py: {', '.join(SECTIONS)}"
    if mark.kwargs.get("case", next(iter(TITLES))) not in TITLES:
        return f"{mark.kwargs['case']!r} is no case of fault_titles.py"
    return ""


def page(found: dict[Row, int]) -> str:
    parts = [HEAD]
    for section, everywhere in SECTIONS.items():
        told = {(row.fault, row.comes, row.then): "" for row in found if row.section == section}
        if told:
            parts.append(f"\n## {section}\n\n" + (f"{everywhere}\n\n" if everywhere else ""))
            parts.append(COLUMNS)
        for words in told:
            same = [r for r in found if (r.section, r.fault, r.comes, r.then) == (section, *words)]
            parts.append(line([*words, tests(same)]) + "\n")
    parts.append(DEMANDED)
    for case, title in TITLES.items():
        shown = tests([row for row in found if row.case == case])
        parts.append(line([case, title, shown or "*no test*"]) + "\n")
    return "".join(parts)


def tests(rows: list[Row]) -> str:
    """Each test once, with the ids of its rows where not all of them are meant."""
    ids: dict[str, list[str]] = {}
    for row in rows:
        ids.setdefault(row.test, []).extend([row.only] if row.only else [])
    named = {test: ", ".join(f'"{one}"' for one in only) for test, only in ids.items()}
    return "; ".join(f"`{test}`" + (f" ({only})" if only else "") for test, only in named.items())


PAGE = Page("faults", "fault", rows_of, page)

if __name__ == "__main__":
    sys.exit(PAGE.main())
