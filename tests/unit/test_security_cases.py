"""docs/security-cases.md is what the tests say, and the markers that it is made from are strict."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.security_cases import PAGE
from tests.security_titles import TITLES
from tests.unit.pages import checked, made_from


def test_the_committed_table_is_up_to_date() -> None:
    """Whoever adds, renames or removes a case's test runs `make security-cases`."""
    ended = checked("security_cases")

    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


def test_every_case_has_a_line() -> None:
    text = PAGE.file.read_text()

    assert [case for case in TITLES if f"| {case} |" not in text] == []


def test_a_test_is_listed_with_its_claim_its_bound_and_how_often_it_runs(tmp_path: Path) -> None:
    made = made_from(
        "security_cases",
        tmp_path,
        """
@pytest.mark.case("N-17", expect="0xffff000f")
@pytest.mark.weakness("never read", below="4.11")
@pytest.mark.parametrize("n", [1, 2])
def test_an_older_subkey_is_refused(target, n): ...
""",
    )
    (line,) = [line for line in made.stdout.splitlines() if line.startswith("| N-17 |")]

    assert "| an older subkey is refused |" in line
    assert "test_an_older_subkey_is_refused` (x2)" in line
    assert "0xffff000f; **strict xfail** on OP-TEE below 4.11: never read" in line
    assert "| N-16 |" in made.stdout
    assert "*no test*" in made.stdout


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ('@pytest.mark.case("N-99")\ndef test_x(): ...', "N-99 is no case"),
        ("@pytest.mark.case()\ndef test_x(): ...", "case(...) takes ids"),
        ('@pytest.mark.case("N1")\ndef test_x(): ...', "not an id like N-01"),
        ('@pytest.mark.weakness("why")\ndef test_x(target): ...', "weakness(reason, below="),
        (
            '@pytest.mark.weakness("why", below="4.11")\ndef test_x(): ...',
            "means a box",
        ),
    ],
    ids=["unknown number", "no number", "malformed", "unbound weakness", "weakness without a box"],
)
def test_a_marker_that_would_make_the_table_lie_stops_it(
    tmp_path: Path, source: str, told: str
) -> None:
    made = made_from("security_cases", tmp_path, source)

    assert made.returncode != 0
    assert told in made.stderr + made.stdout
