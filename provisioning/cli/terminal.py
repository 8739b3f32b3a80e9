"""Where commands print what they are doing."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from harness.shown import printable_lines


def for_people() -> Console:
    """stderr. A line stays one line, however long: its paths can be copied from a CI log."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def say_line(terminal: Console, sign: str, said: str) -> None:
    """One line: ``sign`` (ours, with markup) and what was ``said`` (anybody's, shown as it is).

    In one call: what a call leaves without an end of line is wiped by the spinner's next turn.
    """
    terminal.print(Text.from_markup(sign).append(printable_lines(said)))
