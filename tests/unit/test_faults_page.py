"""docs/faults.md names tests that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
PAGE = (HOUSE / "docs" / "faults.md").read_text()
_NAME = re.compile(r'(?P<file>(?:links|device|unit)/\w+\.py)|(?P<test>test_\w+)|"(?P<row>[^"]+)"')


def named(text: str) -> Iterator[tuple[str, str]]:
    """File and test, or file and row's id, of the last column of each table row."""
    for line in text.splitlines():
        cells = line.split(" | ")
        if not line.startswith("| ") or not _NAME.search(cells[-1]):
            continue
        file = ""
        for found in _NAME.finditer(cells[-1]):
            file = found["file"] or file
            if not found["file"]:
                yield file, found["test"] or found["row"]


def missing(text: str) -> list[str]:
    lacking = []
    for file, name in named(text):
        place = HOUSE / "tests" / file
        source = place.read_text() if place.is_file() else ""
        wanted = f"def {name}(" if name.startswith("test_") else f'"{name}"'
        if wanted not in source:
            lacking.append(f"{file} {name}")
    return lacking


def test_every_test_on_the_page_is_there() -> None:
    assert missing(PAGE) == []
    assert len(list(named(PAGE))) > 80


@pytest.mark.parametrize(
    "cell", ['links/test_steps_files.py "no such row"', "unit/test_nowhere.py test_nothing"]
)
def test_name_of_no_test_is_found_out(cell: str) -> None:
    assert missing(f"| a | b | {cell} |") != []
