"""The shell through the standing helper: a command without a new SSH channel.

Where the helper cannot run, everything goes over plain SSH, and that is logged once. Files go over
SFTP in either case.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

from harness.agent_client import AgentConnection
from harness.agent_program import run_program
from harness.deadline import Deadline
from harness.errors import (
    CommandFailed,
    LinkLost,
)
from harness.helpers import Helpers, NoHelper
from harness.history import History
from harness.ssh import SshShell, noted, shown
from harness.ssh_exec import MOST_OUTPUT, command_line
from harness.target import Completed, Layout
from harness.vitals import Vitals

MOST_HELPERS = 4
"""At once; each takes a session of the box's SSH server, and OpenSSH gives 10."""


class AgentShell:
    """Implements ``Shell`` on top of an SshShell. Thread-safe: up to 4 commands run at once."""

    def __init__(
        self,
        ssh: SshShell,
        layout: Layout,
        vitals: Vitals,
        history: History,
        *,
        most_output: int = MOST_OUTPUT,
    ) -> None:
        self._ssh = ssh
        self._vitals, self._history = vitals, history
        self._most_output = most_output
        self.helpers = Helpers(ssh, layout, vitals)
        """Those that run commands; who talks to the TEE takes turns with them."""
        self._turns = threading.BoundedSemaphore(MOST_HELPERS)
        self._why_not, self._why_not_in = "", -1
        self._log = logging.getLogger(f"harness.agent.{vitals.target}")

    @property
    def why_not(self) -> str:
        """Why the helper is not used in this life of the box; empty as long as it is."""
        return self._why_not if self._why_not_in == self._vitals.life else ""

    def run(self, *argv: str, by: Deadline, stdin: bytes = b"", check: bool = True) -> Completed:
        """See ``Shell.run``. A command that runs out of time or output is killed on the box."""
        command_line(argv)  # what one shell refuses, so does the other
        self._vitals.check()
        with contextlib.ExitStack() as held:
            agent = held.enter_context(self._agent(by)) if not self.why_not else None
            if agent is None:
                return self._ssh.run(*argv, by=by, stdin=stdin, check=check)
            started = time.monotonic()
            with noted(self._history, shown(argv)) as outcome:
                try:
                    ended = run_program(
                        *(agent, argv),
                        stdin=stdin,
                        by=by,
                        most=self._most_output,
                        vitals=self._vitals,
                    )
                except LinkLost:
                    self._vitals.check()
                    raise
                outcome.append(f"status {ended.status}")
        seconds = time.monotonic() - started
        completed = Completed(argv, ended.status, ended.stdout, ended.stderr, seconds)
        if check and completed.status:
            raise CommandFailed(argv, completed.status, completed.stdout, completed.stderr)
        return completed

    def read(self, path: str, *, by: Deadline) -> bytes:
        """See ``Shell.read``; at most 64 MiB."""
        return self._ssh.read(path, by=by)

    def write(self, path: str, data: bytes, *, by: Deadline, mode: int = 0o600) -> None:
        """See ``Shell.write``. Raises DeviceRefused, then the old file is untouched."""
        self._ssh.write(path, data, by=by, mode=mode)

    def close(self) -> None:
        """End all helpers. The next command would start one again."""
        self.helpers.close()

    @contextlib.contextmanager
    def _agent(self, by: Deadline) -> Iterator[AgentConnection | None]:
        """A helper for one request, None when the box runs none. Kept only if all went well."""
        if not self._turns.acquire(timeout=by.left("the turn for a command")):
            by.left("the turn for a command")
        try:
            with self._one_agent(by) as agent:
                yield agent
        finally:
            self._turns.release()

    @contextlib.contextmanager
    def _one_agent(self, by: Deadline) -> Iterator[AgentConnection | None]:
        life = self._vitals.life
        with contextlib.ExitStack() as held:
            try:
                agent = held.enter_context(self.helpers.lent(by=by))
            except NoHelper as none:
                self._give_up(life, none.problem.message)
                agent = None
            yield agent

    def _give_up(self, life: int, reason: str) -> None:
        """For this life of the box: the next one may be another firmware's."""
        if reason != self._why_not:
            self._log.warning("commands go over plain SSH: %s", reason)
        self._why_not, self._why_not_in = reason, life
