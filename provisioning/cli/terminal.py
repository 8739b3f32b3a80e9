"""Where commands print what they are doing."""

from __future__ import annotations

from rich.console import Console


def for_people() -> Console:
    """stderr. A line stays one line, however long: its paths can be copied from a CI log."""
    return Console(stderr=True, highlight=False, soft_wrap=True)
