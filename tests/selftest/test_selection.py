"""Options, header and the ``needs`` marker: what the plugin says before any box is opened."""

from __future__ import annotations

import pytest

from tests.selftest.conftest import Run

PASSES = "def test_passes(): pass"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "trustbox: under test is emulator"),
        (("--serial", "TB-7"), "trustbox: under test is emulator TB-7"),
        (("--target", "bench-1", "--serial", "TB-8"), "trustbox: under test is bench-1 TB-8"),
    ],
    ids=["default", "serial", "bench"],
)
def test_header_says_what_is_under_test(run: Run, options: tuple[str, ...], said: str) -> None:
    result = run(PASSES, *options)

    result.stdout.fnmatch_lines([f"{said}*"])
    result.assert_outcomes(passed=1)


def test_two_targets_in_one_run_are_refused(run: Run) -> None:
    result = run(PASSES, "--target", "a", "--target", "b")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--target was given 2 times (a, b)*"])


def test_a_targets_file_that_is_not_there_is_refused(run: Run) -> None:
    result = run(PASSES, "--targets-file", "nowhere.toml")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--targets-file: there is no file nowhere.toml"])


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        (
            "needs('pkcs12')",
            "*test_it: needs('pkcs12'): no such capability; did you mean 'pkcs11'?",
        ),
        ("needs('zzz')", "*no such capability; there are tee, *"),
        ("needs()", "*needs(...) takes capabilities*"),
        ("needs(capability='tee')", "*needs(...) takes capabilities*"),
    ],
    ids=["typing error", "unknown", "empty", "keyword"],
)
def test_a_wrong_needs_marker_stops_the_run(run: Run, marker: str, said: str) -> None:
    result = run(f"import pytest\n@pytest.mark.{marker}\ndef test_it(target): pass")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([said])
