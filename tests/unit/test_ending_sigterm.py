"""SIGTERM, as a script's time limit sends it, ends a command as Ctrl-C does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from provisioning.cli.app import build
from provisioning.cli.ending import ended


def stopped_by(number: int, left: list[str]) -> Callable[[], int]:
    def work() -> int:
        left.append("part file")
        try:
            os.kill(os.getpid(), number)
            signal.sigtimedwait([signal.SIGUSR1], 60)  # the handler raises here
        finally:
            left.clear()
        return 0

    return work


@pytest.mark.fault(
    "Run",
    "a command is ended by SIGTERM, by a script's time limit for one",
    comes="as with Ctrl-C what is half made on the box is taken away; status 143",
    then="run the same again",
)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_what_is_half_made_is_taken_away_and_the_status_says_the_signal(
    number: int, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    left: list[str] = []
    before = signal.getsignal(signal.SIGTERM)

    assert ended(stopped_by(number, left), as_json=False) == status
    assert left == []
    assert "interrupted" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_command_of_the_program_says_so_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left: list[str] = []
    monkeypatch.setattr("provisioning.cli.plans.example_plan", stopped_by(signal.SIGTERM, left))

    answer = ended(
        lambda: build()(["plan", "example"], standalone_mode=False, prog_name="trustbox") or 0,
        as_json=False,
    )

    assert answer == 143
    assert left == []
    assert "interrupted" in capsys.readouterr().err
