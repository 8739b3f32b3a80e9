"""A page of docs/ that is made from a marker of the tests. Tests are collected; none is run."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import pytest

HOUSE = Path(__file__).resolve().parents[1]
OPTIONS = (
    *("--collect-only", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"),
    # The plugin is imported here before pytest could rewrite its asserts. Nothing is run.
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)
Row = TypeVar("Row")


class Collector(Generic[Row]):
    """A pytest plugin that keeps the rows of what was collected, and how often each came."""

    def __init__(self, rows_of: Callable[[pytest.Item], Iterable[Row]]) -> None:
        self._rows_of = rows_of
        self.found: dict[Row, int] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        # As in the files: the suite's own order (tests/conftest.py) depends on who runs it.
        for item in sorted(session.items, key=lambda item: (item.path, item.location[1] or 0)):
            for row in self._rows_of(item):
                self.found[row] = self.found.get(row, 0) + 1


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """``docs/NAME.md``, which ``make NAME`` writes from the tests that carry ``mark.MARKER``.

    ``rows_of`` gives the rows of one test and raises pytest.UsageError for a malformed marker;
    ``text`` makes the page of all rows, in the order of the tests in their files, with how often
    each came.
    """

    name: str
    marker: str
    rows_of: Callable[[pytest.Item], Iterable[Row]]
    text: Callable[[dict[Row, int]], str]

    @property
    def file(self) -> Path:
        return HOUSE / "docs" / f"{self.name}.md"

    def made_from(self, *paths: str) -> str:
        """The page of the tests under ``paths``. Raises SystemExit with pytest's words."""
        if not paths:
            return self.text({})
        collector, printed = Collector(self.rows_of), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            status = pytest.main([*OPTIONS, *paths], plugins=[collector])
        if status != pytest.ExitCode.OK:
            sys.exit(printed.getvalue()[-4000:])
        return self.text(collector.found)

    def main(self) -> int:
        """The command: writes the page, or with ``--check`` compares. Returns the exit status."""
        parser = argparse.ArgumentParser(description=f"Make docs/{self.name}.md from the tests.")
        parser.add_argument("--check", action="store_true", help="write nothing; compare")
        check = parser.parse_args().check
        made = self.made_from(*carrying(HOUSE / "tests", self.marker))
        if not check:
            self.file.write_text(made)
            return 0
        same = self.file.is_file() and self.file.read_text() == made
        if not same:
            print(f"docs/{self.name}.md is not up to date: make {self.name}")  # noqa: T201
        return 0 if same else 1


def carrying(root: Path, marker: str) -> list[str]:
    """The test files that name the marker, or import it from a file of ``tests`` that does.

    Collecting all the others would find nothing.
    """
    texts = {file: file.read_text() for file in sorted(root.rglob("*.py"))}
    named = [file for file, text in texts.items() if re.search(rf"\bmark\.{marker}\(", text)]
    helpers = "|".join(file.stem for file in named if not file.name.startswith("test_"))
    imported = re.compile(rf"^from [\w.]+(\.| import )({helpers})\b", re.MULTILINE)
    return [
        str(file)
        for file, text in texts.items()
        if file.name.startswith("test_") and (file in named or imported.search(text))
    ]


def line(cells: Sequence[str]) -> str:
    """One row of a table."""
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
