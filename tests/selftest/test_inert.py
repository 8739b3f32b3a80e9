"""The plugin is loaded into every pytest run of its environment; most of them know of no box."""

from __future__ import annotations

import pytest

from tests.selftest.conftest import Run

NOTHING_HEAVY = """
    import sys

    def test_nothing_heavy_is_imported():
        heavy = {"harness.targets", "emulator", "provisioning", "paramiko", "serial", "pkcs11"}
        assert heavy.isdisjoint(sys.modules)
"""


def test_a_suite_without_boxes_imports_nothing_heavy(run: Run) -> None:
    run(NOTHING_HEAVY).assert_outcomes(passed=1)


def test_fixtures_of_the_same_names_are_left_alone(run: Run) -> None:
    result = run(
        NOTHING_HEAVY
        + """
    import pytest

    @pytest.fixture
    def target():
        return "a shooting range"

    @pytest.fixture
    def box(target):
        return f"of cartridges for {target}"

    @pytest.mark.needs("ear protection")
    def test_theirs(box):
        assert box == "of cartridges for a shooting range"
    """,
        "--target",
        "nowhere",
    )

    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("option", ["--collect-only", "--setup-plan"])
def test_looking_at_the_tests_opens_nothing(run: Run, option: str) -> None:
    result = run("def test_it(box): pass", "--target", "nowhere", option)

    assert result.ret == 0
    assert "cannot be opened" not in result.stdout.str()


def test_a_fixture_built_on_ours_asks_for_the_box(run: Run) -> None:
    result = run(
        """
    import pytest

    @pytest.fixture
    def target(target):
        return target

    def test_it(target):
        pass
    """,
        "--target",
        "nowhere",
    )

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["nowhere cannot be opened: *"])
