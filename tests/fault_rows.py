"""Marks of docs/faults.md for the rows of a table, and one that several tests share."""

from __future__ import annotations

from collections.abc import Mapping

import pytest


def marked(rows: Mapping[str, object], marks: Mapping[str, pytest.MarkDecorator]) -> list[object]:
    """A ``pytest.param`` for each row, under its name. Raises ValueError for a mark of no row."""
    if unknown := marks.keys() - rows.keys():
        raise ValueError(f"marks of no row: {', '.join(sorted(unknown))}")
    return [
        pytest.param(row, id=name, marks=[marks[name]] if name in marks else [])
        for name, row in rows.items()
    ]


def each(mark: pytest.MarkDecorator, *names: str) -> dict[str, pytest.MarkDecorator]:
    """The same mark for several rows: they share a line of the page."""
    return dict.fromkeys(names, mark)


def cut_at(step: str) -> pytest.MarkDecorator:
    """The mark of a test that ends a run in a step; ``step`` is its name."""
    return pytest.mark.fault(
        "Run",
        "the power, the station or the run ends in a step: each of them was tried",
        comes="what was made is there, and nothing half; the command, where it lives on, ends with"
        " LinkLost or BoxDied, status 4 or 8, or after Ctrl-C with 130",
        then="run again: it goes on, makes nothing a second time, and completes",
        case=f"F-40-{step}",
    )
