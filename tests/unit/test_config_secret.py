"""Secrets come from a file or a command, and stay out of every error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.config_secret import SecretCommand, SecretFile
from harness.errors import Misuse


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
