"""Where a secret comes from: a file or a command, read when it is needed, never before."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.config_table import Table
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, Misuse
from harness.owned import own
from harness.printed import printed
from harness.secret import Secret
from harness.shown import secret_like

LONGEST = 4096
COMMAND_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class SecretFile:
    """The first line of a file that only its owner, this user or root, may read."""

    path: Path

    def __call__(self) -> Secret:
        """Raises Misuse when it cannot be read, is somebody else's or others may read it, or it is
        empty."""
        try:
            # Not blocking: a pipe without a writer is no secret.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(descriptor, "rb") as file:
                # Of what was opened: another file may have that name by now.
                about = os.fstat(descriptor)
                if not own(about):
                    raise Misuse(
                        f"the secret in {self.path} is user {about.st_uid}'s, not yours or root's",
                        hint=f"If it is the right one: chown {os.geteuid()} {self.path}",
                    )
                if about.st_mode & 0o077:
                    raise Misuse(
                        f"others than its owner may read the secret in {self.path}",
                        hint=f"chmod 600 {self.path}",
                    )
                text = file.read(LONGEST + 1) or b""
        except OSError as problem:
            name = secret_like(self.path)
            raise Misuse(f"the secret in {name} cannot be read: {problem.strerror}") from None
        return _first_line(text, str(self.path))


@dataclass(frozen=True, slots=True)
class SecretCommand:
    """The first line that a program prints, such as a password store's."""

    argv: tuple[str, ...]

    def __call__(self, *, by: Deadline | None = None) -> Secret:
        """What it leaves running in the background (an agent) is not waited for. It has 30 s, and
        no longer than ``by``.

        Raises Misuse, DeadlineExpired for ``by``; what the program printed is never shown.
        """
        name = self.argv[0]
        limit = Deadline.after(COMMAND_SECONDS)
        if by is not None and by.at < limit.at:
            limit = by
        try:
            status, said = printed(self.argv, most=LONGEST, by=limit)
        except OSError as problem:
            raise Misuse(f"{name} cannot be started for a secret: {problem.strerror}") from None
        except DeadlineExpired:
            if limit is by:
                raise
            raise Misuse(f"{name} gave no secret within {COMMAND_SECONDS:.0f} s") from None
        if status and len(said) <= LONGEST:
            raise Misuse(f"{name}, asked for a secret, exited with {status}")
        return _first_line(said, name)


SecretSource = SecretFile | SecretCommand


def asked(source: Callable[[], Secret], *, by: Deadline) -> Secret:
    """The secret, within ``by`` where a program is asked for it. Raises what ``source`` does."""
    return source(by=by) if isinstance(source, SecretCommand) else source()


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
