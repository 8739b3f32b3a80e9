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


@pytest.mark.parametrize("serial", [(), ("--serial", "TB-0042")], ids=["none", "another"])
def test_a_permission_that_does_not_repeat_the_serial_number_is_refused(
    run: Run, serial: tuple[str, ...]
) -> None:
    result = run(PASSES, "--target", "bench-1", *serial, "--lasting", "TB-0043")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--lasting TB-0043 must repeat --serial, which is *"])


def test_a_bench_without_a_serial_number_says_what_is_missing(
    run: Run, pytester: pytest.Pytester
) -> None:
    bench = ["[bench-1]", 'kind = "bench"', 'address = "192.0.2.1"', 'client_key = "key"']
    bench += [f'host_key = "ssh-ed25519 {"A" * 68}"', 'serial_url = "/dev/no-such-uart"']
    pytester.makefile(".toml", lab="\n".join(bench))
    result = run("def test_it(target): pass", "--target", "bench-1", "--targets-file", "lab.toml")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["bench-1 cannot be opened: bench-1 is a bench: say which box must be there, with --serial"]
    )


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
