"""What a command prints while it works can be read in a CI log: one line each, words apart."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from emulator.cli_image import _progress
from provisioning.cli.provision import Progress
from provisioning.cli.terminal import for_people, say_line
from provisioning.run import Outcome, StepReport

PATH = "/state/" + "long-name/" * 20 + "journal.jsonl"


@pytest.fixture
def progress() -> Iterator[Progress]:
    terminal = for_people()
    with terminal.status("opening the box") as status:
        yield Progress(terminal, status)


def test_a_path_longer_than_a_line_is_not_broken(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    progress.line(f"kept in {PATH}")
    progress.ended(StepReport("record", Outcome.DONE, f"written to {PATH}", 0.1))

    assert capsys.readouterr().err.count(PATH) == 2


def test_a_path_of_the_image_is_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    _progress()(f"building in {PATH}")

    assert PATH in capsys.readouterr().err


def test_the_longest_name_of_a_step_is_a_word_of_its_own(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    progress.ended(StepReport("own-identity", Outcome.CHECKED, "nothing looks shared", 0.1))

    assert "checked own-identity nothing looks" in capsys.readouterr().err


def test_the_spinner_of_a_terminal_wipes_no_part_of_a_line() -> None:
    shown = io.StringIO()
    terminal = Console(file=shown, force_terminal=True, color_system=None, soft_wrap=True)

    with terminal.status("verifying"):
        say_line(terminal, "[red]FAILED[/]      token        ", "blank, with [red]tape[/] on it")

    assert "FAILED      token        blank, with [red]tape[/] on it\n" in shown.getvalue()
