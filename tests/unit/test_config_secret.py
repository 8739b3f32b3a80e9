"""Secrets come from a file or a command, and stay out of every error."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from harness.config_secret import SecretCommand, SecretFile, asked
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, Misuse


def file_with(path: Path, text: bytes, mode: int = 0o600) -> SecretFile:
    path.write_bytes(text)
    path.chmod(mode)
    return SecretFile(path)


def prints(program: str) -> SecretCommand:
    return SecretCommand((sys.executable, "-c", program))


def test_a_file_s_first_line_is_the_secret(tmp_path: Path) -> None:
    assert file_with(tmp_path / "pw", b"hunter2\nuser: admin\n")().reveal() == b"hunter2"


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="others than its owner") as caught:
        file_with(tmp_path / "pw", b"hunter2\n", mode=0o644)()

    assert caught.value.diagnostics() == f"chmod 600 {tmp_path / 'pw'}"


@pytest.mark.parametrize("text", [b"", b"\nhunter2", b"x" * 5000])
def test_a_file_without_a_secret_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(Misuse, match="empty or too long"):
        file_with(tmp_path / "pw", text)()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="no-such-file cannot be read: No such file"):
        SecretFile(tmp_path / "no-such-file")()


def test_a_command_s_first_line_is_the_secret() -> None:
    assert prints("print('hunter2\\nmore')")().reveal() == b"hunter2"


def test_a_command_that_fails_says_nothing_of_what_it_printed() -> None:
    with pytest.raises(Misuse, match="exited with 3") as caught:
        prints("import sys; print('hunter2'); print('hunter2', file=sys.stderr); sys.exit(3)")()

    assert "hunter2" not in caught.value.message


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(Misuse, match="no-such-program cannot be started"):
        SecretCommand(("no-such-program",))()


BACKGROUND = """
import subprocess, sys
subprocess.Popen([sys.executable, "-c", "import select; select.select([], [], [], 600)"])
print("hunter2")
"""


@pytest.fixture
def no_orphans() -> Iterator[None]:
    """What a test's program left behind is ended."""
    before = set(orphans())
    yield
    for pid in set(orphans()) - before:
        os.kill(pid, signal.SIGKILL)


def orphans() -> Iterator[int]:
    """Processes that wait as BACKGROUND's do."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if b"select.select([], [], [], 600)" in place.read_bytes():
                yield int(place.parent.name)


@pytest.mark.fault(
    "Secrets",
    "a password store's agent stays in the background with the output of the command open",
    comes="the secret is taken when the command ends; nobody waits for the agent",
    then="nothing",
)
def test_an_agent_that_keeps_the_output_open_is_not_waited_for(no_orphans: None) -> None:
    by = Deadline.after(25)

    assert prints(BACKGROUND)(by=by).reveal() == b"hunter2"
    assert not by.expired


def test_a_command_that_gives_nothing_ends_with_the_caller_s_deadline() -> None:
    waits = prints("import select; select.select([], [], [], 60)")
    began = time.monotonic()

    with pytest.raises(DeadlineExpired, match="a program to print what it is asked for"):
        asked(waits, by=Deadline.after(0.5))
    assert time.monotonic() - began < 20


def test_a_command_without_end_of_output_is_ended() -> None:
    with pytest.raises(Misuse, match="too long to be a secret"):
        prints("while True: print('x' * 65536, end='')")(by=Deadline.after(25))


def test_a_command_may_print_first_and_end_later() -> None:
    later = "import select; print('hunter2', flush=True); select.select([], [], [], 0.3)"

    assert prints(later)().reveal() == b"hunter2"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_s_is_refused(tmp_path: Path) -> None:
    secret = file_with(tmp_path / "pw", b"hunter2\n")
    os.chown(tmp_path / "pw", 65534, -1)

    with pytest.raises(Misuse, match="is user 65534's, not yours or root's") as caught:
        secret()
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_a_pipe_that_nobody_writes_to_is_no_secret(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pw", 0o600)

    with pytest.raises(Misuse, match="empty or too long"):
        SecretFile(tmp_path / "pw")()


def test_the_mode_is_that_of_the_file_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of one that had its name a moment ago."""
    secret = file_with(tmp_path / "pw", b"planted\n", mode=0o644)
    monkeypatch.setattr(Path, "stat", lambda *_, **__: os.stat_result((0o100600, *[0] * 9)))

    with pytest.raises(Misuse, match="others than its owner"):
        secret()
