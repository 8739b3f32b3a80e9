"""The command line ends as it promises: a sentence, an exit status, JSON where asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import typer

from harness.errors import (
    BadInput,
    BoxDied,
    CommandFailed,
    IntegrityFailure,
    MissingCapability,
    TrustBoxError,
)
from provisioning.cli.app import OWN, build
from provisioning.cli.ending import ended
from provisioning.cli.later import Later, made
from provisioning.cli.options import to_stderr


def trustbox(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from provisioning.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        (BadInput(where="plan.toml", key="token.label", value=1, expected="a text"), 2),
        (MissingCapability("box", ["pkcs11"]), 3),
        (IntegrityFailure("the TEE is not what it must be"), 7),
        (BoxDied("box", "Kernel panic"), 8),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_status_says_whose_move_it_is(
    problem: TrustBoxError, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise problem

    assert ended(fail, as_json=False) == status
    assert capsys.readouterr().err.splitlines()[0] == f"error: {problem.message}"


def test_what_a_box_said_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise CommandFailed(("xtest",), 1, b"", b"\x1b]0;owned\x07\x1b[2J")

    ended(fail, as_json=False)
    to_stderr("logging in:\x1b[2J\nnext line")

    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "\x07" not in said
    assert said.splitlines() == [
        r"error: xtest exited with 1 on the box: \x1b]0;owned\x07\x1b[2J",
        r"logging in:\x1b[2J",
        "next line",
    ]


def test_error_as_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise BoxDied("box", "Kernel panic")

    ended(fail, as_json=True)

    told = json.loads(capsys.readouterr().err)
    assert (told["error"], told["exit_status"]) == ("BoxDied", 8)


def test_interrupt_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    assert ended(interrupted, as_json=False) == 130


def test_ctrl_c_in_a_command_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    def stopped() -> None:
        raise KeyboardInterrupt

    app = build()
    app.add_command(made("stopped", stopped))

    status = ended(lambda: app(args=["stopped"], standalone_mode=False) or 0, as_json=False)

    assert status == 130
    assert "interrupted" in capsys.readouterr().err


def test_status_130_of_a_program_on_the_box_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    def left() -> None:
        raise typer.Exit(130)

    app = build()
    app.add_command(made("left", left))

    assert ended(lambda: app(args=["left"], standalone_mode=False) or 0, as_json=False) == 130
    assert capsys.readouterr().err == ""


def test_what_nobody_foresaw_keeps_its_traceback() -> None:
    def defect() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ended(defect, as_json=False)


def test_shipped_plan_is_printed_and_accepted(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(trustbox("plan", "example").stdout)

    assert trustbox("plan", "check", str(plan)).returncode == 0


def test_wrong_plan_is_one_sentence_before_any_box_is_opened(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text("[token]\nlable = 1\n")

    done = trustbox("provision", "--target", "no-such-target", str(plan))

    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {plan}: token.lable is '(hidden)', expected no such key")
    assert "Traceback" not in done.stderr


def test_unknown_target_names_those_there_are(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(trustbox("plan", "example").stdout)

    done = trustbox("provision", "--target", "no-such-target", str(plan))

    assert done.returncode == 2
    assert "emulator" in done.stderr


@pytest.mark.parametrize("arguments", [("nonsense",), ("provision",), ("provision", "--nonsense")])
def test_wrong_usage_is_status_2(arguments: tuple[str, ...]) -> None:
    done = trustbox(*arguments)

    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [(), ("provision",), ("plan",), ("targets",), ("emulator",)])
def test_help_teaches(command: tuple[str, ...]) -> None:
    done = trustbox(*command, "--help")

    assert done.returncode == 0
    assert "Usage: trustbox" in done.stdout


def test_a_list_of_commands_says_of_each_what_its_own_help_begins_with() -> None:
    for name, where, brief in OWN:
        own = Later(name, f"provisioning.cli.{where}", brief).real().get_short_help_str(100)

        assert own.startswith(brief.removesuffix("...")), name


def test_help_of_one_command_imports_none_of_the_others() -> None:
    code = (
        "import sys; from provisioning.cli import main\ntry: main()\nfinally: print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "attest", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    loaded = set(done.stdout.splitlines()[-1].split())
    assert "provisioning.cli.attest" in loaded
    assert loaded.isdisjoint({"paramiko", "pkcs11", "cwt", "httpx", "emulator", "cryptography"})


def test_the_version_is_the_packages() -> None:
    assert trustbox("--version").stdout == f"trustbox {metadata.version('trustbox-harness')}\n"
