"""Where a secret comes from: a file or a command, read when it is needed, never before."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.config_table import Table
from harness.errors import Misuse
from harness.secret import Secret

LONGEST = 4096
COMMAND_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class SecretFile:
    """The first line of a file that only its owner may read."""

    path: Path

    def __call__(self) -> Secret:
        """Raises Misuse when it cannot be read, others may read it, or it is empty."""
        try:
            if self.path.stat().st_mode & 0o077:
                raise Misuse(
                    f"others than its owner may read the secret in {self.path}",
                    hint=f"chmod 600 {self.path}",
                )
            with self.path.open("rb") as file:
                text = file.read(LONGEST + 1)
        except OSError as problem:
            raise Misuse(f"the secret in {self.path} cannot be read: {problem.strerror}") from None
        return _first_line(text, str(self.path))


@dataclass(frozen=True, slots=True)
class SecretCommand:
    """The first line that a program prints, such as a password store's."""

    argv: tuple[str, ...]

    def __call__(self) -> Secret:
        """Raises Misuse; what the program printed is never shown."""
        name = self.argv[0]
        try:
            done = subprocess.run(
                self.argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=COMMAND_SECONDS,
            )
        except OSError as problem:
            raise Misuse(f"{name} cannot be started for a secret: {problem.strerror}") from None
        except subprocess.TimeoutExpired:
            raise Misuse(f"{name} gave no secret within {COMMAND_SECONDS:.0f} s") from None
        if done.returncode:
            raise Misuse(f"{name}, asked for a secret, exited with {done.returncode}")
        return _first_line(done.stdout, name)


SecretSource = SecretFile | SecretCommand


def read_source(table: Table, what: str = "password") -> SecretSource | None:
    """``<what>_file`` or ``<what>_command`` of a table; None when there is neither."""
    by_file, by_command = f"{what}_file", f"{what}_command"
    if by_file in table and by_command in table:
        raise table.bad(by_command, f"absent, since there is {by_file}")
    if by_file in table:
        return SecretFile(table.path(by_file))
    if by_command in table:
        return SecretCommand(table.texts(by_command))
    return None


def _first_line(text: bytes, source: str) -> Secret:
    line = text.split(b"\n", 1)[0].rstrip(b"\r")
    if not line or len(line) > LONGEST:
        raise Misuse(f"the first line from {source} is empty or too long to be a secret")
    return Secret(line)
