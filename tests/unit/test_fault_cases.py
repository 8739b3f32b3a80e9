"""docs/faults.md is what the tests say, and the mark that it is made from is strict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from provisioning.plan import Plan
from provisioning.steps import first_run
from tests.fault_cases import PAGE, Row, fault_of, page
from tests.fault_titles import SECTIONS, STEPS, TITLES
from tests.page import carrying
from tests.unit.pages import checked, made_from

fault = pytest.mark.fault
MARK = 'pytest.mark.fault("Token", "wrong PIN", comes="status 6", then="give the right one"'
ROW = Row("CA", "no index", "status 2", "trustbox ca recover", "", "tests/test_a.py::test_b", "")


def test_the_committed_page_is_up_to_date() -> None:
    """Whoever adds, renames or removes a test of a fault runs `make faults`."""
    ended = checked("fault_cases")

    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


def test_only_files_that_carry_the_mark_are_collected(tmp_path: Path) -> None:
    """In themselves, or from a helper's file."""
    for name, text in {
        "test_marked.py": f"@{MARK})",
        "words.py": f"ONE = {MARK})",
        "test_with_words.py": "from tests.words import ONE",
        "test_with_other_words.py": "from tests.otherwords import ONE",
        "test_plain.py": "words = 1",
    }.items():
        (tmp_path / name).write_text(text)

    found = [Path(file).name for file in carrying(tmp_path, PAGE.marker)]

    assert found == ["test_marked.py", "test_with_words.py"]


def test_the_demanded_steps_are_those_of_the_longest_run() -> None:
    everything = SimpleNamespace(keys=True, dps=True, edge=True)

    assert {step.name for step in first_run(cast(Plan, everything))} == set(STEPS)


def test_tests_that_say_the_same_share_a_row(tmp_path: Path) -> None:
    made = made_from(
        "fault_cases",
        tmp_path,
        f"""
@{MARK})
@pytest.mark.parametrize("n", [1, 2])
def test_one(n): ...

@pytest.mark.parametrize("n", [pytest.param(1, id="of 3", marks={MARK})), 2])
def test_two(n): ...
""",
    )
    (found,) = [row for row in made.stdout.splitlines() if row.startswith("| wrong PIN |")]

    assert "| status 6 | give the right one |" in found
    assert found.count("test_some.py::test_one`; ") == 1
    assert found.endswith('test_some.py::test_two` ("of 3") |')
    assert "\n## Token\n" in made.stdout


def test_sections_come_in_their_order_and_without_the_empty_ones() -> None:
    text = page({replace(ROW, section="Box"): 1, ROW: 1})
    at = [text.index(f"\n## {section}\n") for section in ("CA", "Box", "What must be shown")]

    assert at == sorted(at)
    assert [s for s in SECTIONS if f"\n## {s}\n" in text] == ["CA", "Box"]


def test_a_demanded_fault_without_a_test_is_on_the_page_as_no_test() -> None:
    text = page({replace(ROW, case="F-01"): 1})

    assert f"| F-01 | {TITLES['F-01']} | `tests/test_a.py::test_b` |" in text
    assert f"| F-02 | {TITLES['F-02']} | *no test* |" in text
    assert text.count("*no test* |") == len(TITLES) - 1


@pytest.mark.parametrize(
    ("mark", "told"),
    [
        (fault("Tokens", "x", comes="y", then="z"), "'Tokens' is no section"),
        (fault("Token", comes="y", then="z"), "takes a section and a fault"),
        (fault("Token", "x", comes="y"), "takes a section and a fault"),
        (fault("Token", "x", comes="y", then="z", left="w"), "no more"),
        (fault("Token", "x", comes="y", then=""), "'' is not a line of text"),
        (fault("Token", "x", comes="y", then=3), "3 is not a line of text"),
        (fault("Token", "x", comes="a\nb", then="z"), "is not a line of text"),
        (fault("Token", "x", comes="a|b", then="z"), "has a |"),
        (fault("Token", "x", comes="in /home/me/x", then="z"), "a path of one machine"),
        (fault("Token", "x", comes="y", then="z", case="F-99"), "'F-99' is no case"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mark_that_would_make_the_page_lie_is_named(
    mark: pytest.MarkDecorator, told: str
) -> None:
    assert told in fault_of(mark.mark)


def test_a_malformed_mark_stops_the_making_and_names_its_test(tmp_path: Path) -> None:
    made = made_from("fault_cases", tmp_path, f"@{MARK}, left='w')\ndef test_x(): ...")

    assert made.returncode != 0
    assert "test_some.py::test_x: fault(...): takes a section" in made.stderr + made.stdout


@pytest.mark.parametrize("place", ["/var/lib/tee", "certificate/root", "https://a/tmp"])
def test_a_path_that_every_box_or_station_has_may_stand_there(place: str) -> None:
    assert fault_of(fault("Token", "x", comes=f"kept in {place}", then="z").mark) == ""
