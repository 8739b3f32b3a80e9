"""The shell over the serial console, for first contact and for boxes whose network is down.

Commands run through the helper, over a link that checks every byte (``uart_link``): log lines on
the same UART go to the console's record and never into an answer. A request that may have reached
the box is never sent twice.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from harness.agent_program import run_program
from harness.console import SerialConsole
from harness.console_files import read_file, write_file
from harness.console_login import ConsoleLogin
from harness.console_session import Session, Sessions
from harness.deadline import Deadline
from harness.errors import CommandFailed, DeadlineExpired, LinkError, LinkLost
from harness.history import History
from harness.secret import Secret
from harness.serial_health import SerialHealth
from harness.sftp import MOST_FILE
from harness.ssh import noted, shown
from harness.ssh_exec import MOST_OUTPUT, Ended, command_line
from harness.target import Completed, Layout
from harness.uart_link import SILENCE_SECONDS
from harness.vitals import Vitals

IDLE_SECONDS = 2.0
"""A link that was idle longer is asked for a sign of life before anything is sent over it."""
ALIVE_SECONDS = 1.0
SETTLE_SECONDS = 0.3
BYE_SECONDS = 2.0


class ConsoleShell:
    """Implements ``Shell``. Logs in with the first request. Thread-safe; one request at a time."""

    def __init__(
        self,
        console: SerialConsole,
        login: ConsoleLogin,
        layout: Layout,
        vitals: Vitals,
        history: History,
        *,
        most_output: int = MOST_OUTPUT,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        """``silence``: seconds without a byte after which a box that owes an answer is lost."""
        self._console, self._vitals, self._history = console, vitals, history
        self._most_output = most_output
        self._sessions = Sessions(console, login, layout, vitals, silence=silence)
        self._turn = threading.Lock()
        self._session: Session | None = None
        self._life, self._used = -1, 0.0

    def run(self, *argv: str, by: Deadline, stdin: bytes = b"", check: bool = True) -> Completed:
        """See ``Shell.run``. A command that runs out of time or output is killed on the box."""
        command_line(argv)  # what one shell refuses, so does the other
        started = time.monotonic()
        with noted(self._history, shown(argv)) as outcome:
            ended = self._run(argv, stdin, by, self._most_output)
            outcome.append(f"status {ended.status}")
        seconds = time.monotonic() - started
        completed = Completed(argv, ended.status, ended.stdout, ended.stderr, seconds)
        if check and completed.status:
            raise CommandFailed(argv, completed.status, completed.stdout, completed.stderr)
        return completed

    def read(self, path: str, *, by: Deadline) -> bytes:
        """See ``Shell.read``; at most 64 MiB."""
        with noted(self._history, f"read {path}") as outcome:
            data = read_file(self._runs, path, by=by)
            outcome.append(f"{len(data)} bytes")
            return data

    def write(self, path: str, data: bytes, *, by: Deadline, mode: int = 0o600) -> None:
        """See ``Shell.write``. Raises DeviceRefused, then the old file is untouched."""
        with noted(self._history, f"write {path} ({len(data)} bytes, mode {mode:04o})") as outcome:
            write_file(self._runs, path, data, mode=mode, by=by)
            outcome.append("done")

    @property
    def let_in_by(self) -> Callable[[], Secret] | None:
        """Which of the login's passwords opened the last shell; None: none was asked for."""
        return self._sessions.let_in_by

    def health(self) -> SerialHealth:
        """How well the line carried so far; the difference of two is the time between them."""
        port = self._console.counters()
        return replace(
            self._sessions.tap.health(),
            overruns=port.overruns,
            framing=port.framing,
            parity=port.parity,
            breaks=port.breaks,
        )

    def close(self) -> None:
        """End the helper, and log out if it was us who logged in. The next request logs in.

        Waits up to BYE_SECONDS for the helper's end: whoever spoke sooner could interrupt the shell
        that it gives the tty back to, as a frame ends in ETX, which is Ctrl-C there.
        """
        with self._turn:
            session, self._session = self._session, None
            if session is not None:
                if not session.link.lost:
                    session.link.bye(wait=BYE_SECONDS)
                session.link.close()
            self._sessions.close()

    def _runs(self, argv: tuple[str, ...], stdin: bytes, by: Deadline) -> Ended:
        return self._run(argv, stdin, by, MOST_FILE)

    def _run(self, argv: tuple[str, ...], stdin: bytes, by: Deadline, most: int) -> Ended:
        with self._ready(by) as session:
            session.link.limit(by)
            try:
                return run_program(session.agent, argv, stdin=stdin, by=by, most=most)
            except LinkLost:
                self._vitals.settle(SETTLE_SECONDS)
                self._vitals.check()
                raise
            finally:
                session.link.limit(None)

    @contextlib.contextmanager
    def _ready(self, by: Deadline) -> Iterator[Session]:
        """A session for one request; kept only if all went well."""
        if not self._turn.acquire(timeout=by.left("the turn for a command")):
            raise DeadlineExpired("the turn for a command", by.seconds)
        try:
            self._vitals.check()
            session = self._kept(by) or self._sessions.open(by=by)
            self._session, self._life = session, self._vitals.life
            try:
                yield session
            except BaseException:
                session.link.close()
                self._session = None
                raise
            self._used = time.monotonic()
        finally:
            self._turn.release()

    def _kept(self, by: Deadline) -> Session | None:
        """The session of the last request, if it is still good."""
        session, self._session = self._session, None
        if session is None:
            return None
        good = self._life == self._vitals.life and not session.link.lost and session.link.idle
        if good and time.monotonic() - self._used > IDLE_SECONDS:
            try:
                session.agent.ping(by=by.sooner(ALIVE_SECONDS))
            except LinkError:
                good = False
        if good:
            return session
        session.link.close()
        return None
