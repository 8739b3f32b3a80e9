"""A box that cannot be had: one clear failure, and no hundred time-outs after it."""

from __future__ import annotations

import pytest

from tests.selftest.conftest import Run

THREE = """
    import pytest

    def test_one(target): pass
    @pytest.mark.needs("tee")
    def test_two(box): pass
    def test_three(another_box): another_box()
    def test_without_a_box(): pass
"""


def test_every_test_gives_the_same_short_reason(run: Run) -> None:
    result = run(THREE, "--target", "nowhere")

    result.assert_outcomes(errors=3, passed=1)
    reasons = [x for x in result.outlines if x.startswith("nowhere cannot be opened: ")]
    assert len(reasons) == 3
    assert len(set(reasons)) == 1


def test_only_the_first_says_what_to_do_about_it(run: Run) -> None:
    result = run(THREE, "--target", "nowhere")

    # Under CI pytest's summary at the end is not cut to a line, and repeats the hint of the first.
    errors, _, _ = result.stdout.str().partition("short test summary info")
    sections = errors.split("ERROR at setup of ")[1:]
    assert [section.count("targets.toml") > 0 for section in sections] == [True, False, False]


def test_it_is_an_error_and_never_a_skip(run: Run) -> None:
    assert run(THREE, "--target", "nowhere").ret == pytest.ExitCode.TESTS_FAILED
