"""The shell over SSH: commands, files and streams on one connection that mends itself.

A broken connection is dropped and made anew for the *next* request, asking for the endpoint again;
a request that may have reached the box is never sent twice.
"""

from __future__ import annotations

import contextlib
import logging
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import paramiko

from harness.deadline import Deadline
from harness.errors import (
    CommandFailed,
    DeadlineExpired,
    DeviceRefused,
    TrustBoxError,
)
from harness.history import History
from harness.holding import Endpoint
from harness.lookout import looked_for
from harness.sftp import SftpFiles
from harness.ssh_exec import MOST_OUTPUT, command_line, execute, open_channel, start
from harness.ssh_stream import SshStream
from harness.ssh_transport import Connection, connect, lost
from harness.target import Completed
from harness.vitals import Vitals

SPACE_SECONDS = 5.0
SHOWN_WORD = 60


class SshShell:
    """Implements ``Shell`` and ``Streams``. Connects with the first request. Thread-safe."""

    def __init__(
        self,
        endpoint: Callable[[], Endpoint],
        vitals: Vitals,
        history: History,
        *,
        most_output: int = MOST_OUTPUT,
    ) -> None:
        self._endpoint, self._vitals, self._history = endpoint, vitals, history
        self._most_output = most_output
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._files: SftpFiles | None = None
        self._life = 0
        self._log = logging.getLogger(f"harness.ssh.{vitals.target}")

    def run(self, *argv: str, by: Deadline, stdin: bytes = b"", check: bool = True) -> Completed:
        """See ``Shell.run``. A command that runs out of time or output is killed on the box."""
        command_line(argv)
        started = time.monotonic()
        with noted(self._history, shown(argv)) as outcome:
            transport, channel = self._channel(by)
            with self._looked_for(by):
                ended = execute(
                    transport,
                    channel,
                    argv,
                    stdin=stdin,
                    vitals=self._vitals,
                    by=by,
                    most=self._most_output,
                )
            outcome.append(f"status {ended.status}")
        seconds = time.monotonic() - started
        completed = Completed(argv, ended.status, ended.stdout, ended.stderr, seconds)
        if check and completed.status:
            raise CommandFailed(argv, completed.status, completed.stdout, completed.stderr)
        return completed

    def read(self, path: str, *, by: Deadline) -> bytes:
        """See ``Shell.read``; at most 64 MiB."""
        with noted(self._history, f"read {path}") as outcome:
            files = self._sftp(by)
            with self._looked_for(by):
                data = files.read(path, by=by)
            outcome.append(f"{len(data)} bytes")
            return data

    def write(self, path: str, data: bytes, *, by: Deadline, mode: int = 0o600) -> None:
        """See ``Shell.write``. Raises DeviceRefused, then the old file is untouched."""
        with noted(self._history, f"write {path} ({len(data)} bytes, mode {mode:04o})") as outcome:
            files = self._sftp(by)
            try:
                with self._looked_for(by):
                    files.write(path, data, mode=mode, by=by)
            except DeviceRefused as refused:
                self._explain(refused, path, len(data), by)
            outcome.append("done")

    def stream(self, *argv: str, by: Deadline, secret: bool = False) -> SshStream:
        """Start a long-lived program. ``by`` limits the start, not the program's life."""
        with noted(self._history, f"stream {shown(argv)}") as outcome:
            transport, channel = self._channel(by)
            stream = SshStream(channel, shown(argv), self._vitals, self._log, secret=secret)
            try:
                start(transport, channel, b"exec " + command_line(argv), self._vitals, by=by)
            except BaseException:
                stream.close()
                raise
            outcome.append("started")
            return stream

    @property
    def connected(self) -> bool:
        """Whether there is a connection that works, as far as can be told without asking."""
        with self._lock:
            return self._connection is not None and self._connection.alive

    def close(self) -> None:
        """Drop the connection. The next request would make a new one."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection, self._files = self._connection, None, None
        if connection is not None:
            self._vitals.unsubscribe(connection.cut)
            connection.close()

    def _connected(self, by: Deadline) -> tuple[Connection, SftpFiles]:
        """The connection, made anew if there is none that works."""
        if not self._lock.acquire(timeout=by.left("the SSH connection")):
            raise DeadlineExpired("the SSH connection", by.seconds)
        try:
            self._vitals.check()
            life = self._vitals.life
            good = self._connection is not None and self._connection.alive
            if self._connection is None or self._files is None or not good or life != self._life:
                self._drop()
                self._life = life
                started = time.monotonic()
                self._connection = connect(self._endpoint, self._vitals, by=by)
                self._vitals.subscribe(self._connection.cut)
                self._files = SftpFiles(self._connection.transport, self._vitals)
                self._log.debug("connected after %.3f s", time.monotonic() - started)
            return self._connection, self._files
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def _looked_for(self, by: Deadline) -> Iterator[None]:
        """Waiting in vain because the box is gone is BoxDied; not for who waits for its boot."""
        try:
            with looked_for(self._vitals, by):
                yield
        except DeadlineExpired:
            self._vitals.examine()
            raise

    def _sftp(self, by: Deadline) -> SftpFiles:
        return self._connected(by)[1]

    def _channel(self, by: Deadline) -> tuple[paramiko.Transport, paramiko.Channel]:
        connection, _ = self._connected(by)
        try:
            with self._looked_for(by):
                return connection.transport, open_channel(connection.transport, self._vitals, by=by)
        except (EOFError, paramiko.SSHException):
            with self._lock:
                if self._connection is connection:
                    self._drop()
        connection, _ = self._connected(by)
        try:
            return connection.transport, open_channel(connection.transport, self._vitals, by=by)
        except (EOFError, paramiko.SSHException) as problem:
            raise lost(self._vitals, "opening a session", problem) from problem

    def _explain(self, refused: DeviceRefused, path: str, size: int, by: Deadline) -> None:
        """SFTP version 3 has one code for most failures; a full disk is worth a better word."""
        directory = path.rpartition("/")[0] or "/"
        columns: list[str] = []
        with contextlib.suppress(TrustBoxError):
            by = by.sooner(SPACE_SECONDS)
            shown = self.run("df", "-Pk", directory, by=by, check=False).text.splitlines()
            columns = shown[-1].split() if len(shown) > 1 else []
        if len(columns) >= 4 and columns[3].isdigit() and int(columns[3]) * 1024 < size:
            raise DeviceRefused(
                f"writing {path}: no space left on the box for {size} bytes"
                f" ({columns[3]} KiB are free); what stood there before is untouched"
            ) from refused
        raise refused


def shown(argv: Sequence[str]) -> str:
    """argv for people: on one line, long words cut."""
    words = (" ".join(word.split()) if "\n" in word else word for word in argv)
    return shlex.join(w if len(w) <= SHOWN_WORD else w[:SHOWN_WORD] + "…" for w in words)


@contextlib.contextmanager
def noted(history: History, what: str) -> Iterator[list[str]]:
    """Record the request in the history: its outcome is what the body appends, or its error."""
    started = time.monotonic()
    outcome: list[str] = []
    try:
        yield outcome
    except TrustBoxError as error:
        history.add(what, error.message, started=started)
        raise
    except BaseException as error:
        history.add(what, type(error).__name__, started=started)
        raise
    history.add(what, outcome[-1] if outcome else "done", started=started)
