"""What the plugin does around tests of a real box: pristine, skips that name, evidence of failure.

One run of pytest on ``SUITE``, in its own process with its own box, is read by all tests here.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)

POORER = """
    import contextlib, dataclasses, harness.targets
    from harness.capability import Capability
    from harness.errors import IntegrityFailure

    real = harness.targets.open_target

    @contextlib.contextmanager
    def open_target(*args, **kwargs):
        with real(*args, **kwargs) as target:
            lacking = {Capability.OPENSSL, Capability.GOLDEN, Capability.XTEST}
            yield dataclasses.replace(
                target,
                capabilities=target.capabilities - lacking,
                unknown={Capability.XTEST: IntegrityFailure("its storage is damaged")},
            )

    harness.targets.open_target = open_target
"""
SUITE = """
    import re
    import pytest
    from harness.capability import Capability
    from harness.target import World

    def say(target, words, by):
        target.shell.run("sh", "-c", f"echo {words} > /dev/console", by=by)
        target.consoles[World.NORMAL].expect(re.compile(words.encode()), by=by)

    def test_1_leaves_something_behind(box, by):
        say(box.target, "words-of-an-earlier-test", by)
        box.target.shell.write("/etc/left-behind", b"x", by=by)

    def test_2_target_alone_sees_nothing_of_it(target, by):
        assert target.shell.run("test", "-e", "/etc/left-behind", by=by, check=False).status == 1

    def test_3_fails_on_purpose(box, by):
        say(box.target, "words-of-this-test", by)
        assert box.target.shell.run("true", by=by).status == 42

    @pytest.mark.needs(Capability.OPENSSL, "tee")
    class TestSkipped:
        @pytest.mark.needs("GOLDEN")
        def test_4(self, target):
            raise AssertionError("ran in spite of a missing capability")

    def test_5_has_two_boxes(box, another_box):
        assert another_box().target.serial == box.target.serial

    @pytest.fixture
    def kept(module_box):
        return module_box.target.shell

    def test_5a_module_box_is_pristine(kept, by):
        assert kept.run("test", "-e", "/etc/left-behind", by=by, check=False).status == 1
        kept.write("/etc/left-by-5a", b"x", by=by)

    def test_5b_module_box_is_as_the_one_before_left_it(kept, by):
        assert kept.read("/etc/left-by-5a", by=by) == b"x"

    @pytest.mark.case("N-01", expect="nothing")
    @pytest.mark.weakness("not without openssl", lacks="openssl")
    def test_6_weak_as_it_is_known(target):
        assert target.serial == ""

    @pytest.mark.weakness("mended long ago", below="1.0")
    @pytest.mark.weakness("it has one", lacks=Capability.TEE)
    def test_7_not_weak(target):
        assert target.serial

    @pytest.mark.weakness("believed to be broken", below="99.0")
    def test_8_mended_unseen(target):
        assert target.serial

    @pytest.mark.needs("xtest")
    def test_9_needs_what_could_not_be_told(target):
        raise AssertionError("ran although nobody knows whether it can")
"""


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest printed for SUITE; it must have failed (three tests do so on purpose)."""
    directory = tmp_path_factory.mktemp("suite")
    write(directory / "conftest.py", POORER)
    write(directory / "test_suite.py", SUITE)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-v", "-p", "no:randomly", "--timeout=120"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )
    assert ended.returncode == pytest.ExitCode.TESTS_FAILED, ended.stdout + ended.stderr
    return ended.stdout


def write(file: Path, text: str) -> None:
    file.write_text("\n".join(line.removeprefix("    ") for line in text.splitlines()))


def report_of(output: str, test: str) -> str:
    return output.split(f"_ {test} _")[1].split("\n___")[0]


def section(output: str, test: str, title: str) -> str:
    """The lines of one report section: from its title to the next one."""
    after = report_of(output, test).split(f"{title} -", 1)[1]
    return after.split("\n", 1)[1].split("\n-----")[0]


def test_an_open_box_is_introduced(output: str) -> None:
    assert "trustbox: emulator TB-EMU-0001, OP-TEE " in output


def test_each_test_has_its_outcome(output: str) -> None:
    assert "3 failed, 5 passed, 1 skipped, 1 xfailed, 1 error" in output


def test_what_could_not_be_told_is_an_error_with_its_reason_and_no_skip(output: str) -> None:
    report = report_of(output, "ERROR at setup of test_9_needs_what_could_not_be_told")

    assert "IntegrityFailure: its storage is damaged" in report
    assert "ran although" not in output


def test_a_module_s_box_is_pristine_once_and_then_shared(output: str) -> None:
    assert "test_5a_module_box_is_pristine PASSED" in output
    assert "test_5b_module_box_is_as_the_one_before_left_it PASSED" in output


def test_a_known_weakness_is_an_expected_failure_that_names_its_bound(output: str) -> None:
    assert "not without openssl (boxes without openssl)" in output
    assert "test_7_not_weak PASSED" in output


def test_a_weakness_that_is_gone_fails_the_run(output: str) -> None:
    assert "[XPASS(strict)] believed to be broken (OP-TEE below 99.0)" in output


def test_a_test_with_target_alone_sees_no_leftovers(output: str) -> None:
    assert "test_2_target_alone_sees_nothing_of_it PASSED" in output


def test_a_skip_names_every_missing_capability(output: str) -> None:
    assert "emulator lacks golden, openssl" in output


def test_a_failure_shows_the_uart_lines_of_this_test(output: str) -> None:
    lines = section(output, "test_3_fails_on_purpose", "normal world UART")

    assert "words-of-this-test" in lines
    assert "words-of-an-earlier-test" not in lines


def test_a_failure_shows_the_commands_of_this_test(output: str) -> None:
    commands = section(output, "test_3_fails_on_purpose", "commands")

    assert "true" in commands
    assert "words-of-an-earlier-test" not in commands


@pytest.mark.parametrize("title", ["secure world UART", "rig log"])
def test_a_failure_shows(output: str, title: str) -> None:
    assert f"emulator TB-EMU-0001: {title}" in report_of(output, "test_3_fails_on_purpose")


def test_a_failure_with_two_boxes_shows_both(output: str) -> None:
    report = report_of(output, "test_5_has_two_boxes")

    assert "emulator TB-EMU-0001: commands" in report
    assert "emulator TB-EMU-0002: commands" in report
