"""What goes into a report: bounded, printable, and in somebody's words."""

from __future__ import annotations

import pytest

from fixtures.evidence import MOST_CHARACTERS, MOST_LINES, bounded
from fixtures.plugin import following
from fixtures.under_test import told
from harness.errors import BoxDied, BuildFailed, Unreachable
from tests.selftest.conftest import Run


def test_many_lines_show_the_last_and_say_what_was_left_out() -> None:
    shown = bounded(f"line {n}" for n in range(MOST_LINES + 5)).splitlines()

    assert shown[0] == "(5 earlier lines are not shown)"
    assert shown[1:] == [f"line {n}" for n in range(5, MOST_LINES + 5)]


def test_a_long_line_is_cut_and_shows_it() -> None:
    assert bounded(["x" * (MOST_CHARACTERS + 1)]) == "x" * MOST_CHARACTERS + "..."


def test_control_characters_from_a_box_cannot_reach_the_terminal() -> None:
    assert bounded(["\x1b[2Jgone\x07"]) == r"\x1b[2Jgone\x07"


def test_no_lines_at_all_are_said_to_be_none() -> None:
    assert bounded([]) == "(nothing)"


def test_our_errors_tell_the_advice_and_the_causes_and_no_traceback() -> None:
    error = BuildFailed("optee", "make exited with 2", log="build.log")
    error.__cause__ = Unreachable("no archive")

    assert told(error).splitlines() == [
        "The whole output is in build.log.",
        "caused by Unreachable: no archive",
    ]


def test_notes_of_an_error_are_told() -> None:
    error = BoxDied("emulator", "Kernel panic")
    error.add_note("the last line of QEMU's log")

    assert "the last line of QEMU's log" in told(error)


def test_a_bug_is_told_with_its_traceback() -> None:
    try:
        raise ZeroDivisionError("by us")
    except ZeroDivisionError as error:
        assert "Traceback" in told(error)
        assert "ZeroDivisionError: by us" in told(error)


@pytest.mark.parametrize(
    ("serial", "steps", "next_one"),
    [("TB-EMU-0001", 1, "TB-EMU-0002"), ("TB-EMU-0999", 2, "TB-EMU-1001"), ("left", 1, "left-2")],
)
def test_serial_numbers_are_counted_on(serial: str, steps: int, next_one: str) -> None:
    assert following(serial, steps) == next_one


QUOTES = """
    from harness.errors import DeviceRefused

    def test_it():
        try:
            raise OSError(5, "\\x1b[2Jfrom the library")
        except OSError as problem:
            problem.add_note("\\x1b[2Jnoted")
            raise DeviceRefused("the box says '\\x1b[2J'", hint="\\x07") from problem
"""


def test_what_an_error_and_its_cause_quote_of_a_box_does_not_drive_the_terminal(run: Run) -> None:
    result = run(QUOTES, "--color=no")

    result.assert_outcomes(failed=1)
    assert "\x1b" not in result.stdout.str()
    assert r"\x1b[2Jfrom the library" in result.stdout.str()
    assert r"the box says '\x1b[2J'" in result.stdout.str()
