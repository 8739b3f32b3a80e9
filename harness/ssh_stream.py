"""Bytes to and from one program on the box over an SSH channel, for as long as it runs."""

from __future__ import annotations

import logging
import select

import paramiko
from paramiko.pipe import make_pipe

from harness.deadline import Deadline
from harness.errors import DeadlineExpired
from harness.ssh_transport import hang_up, lost
from harness.vitals import Vitals
from harness.wire import traffic

KEPT_STDERR = 4096


class SshStream:
    """Implements ``Stream``. One thread may send while another receives."""

    def __init__(
        self,
        channel: paramiko.Channel,
        what: str,
        vitals: Vitals,
        log: logging.Logger,
        *,
        secret: bool = False,
    ) -> None:
        self._channel, self._what, self._vitals = channel, what, vitals
        self._log, self._secret = log, secret
        # Channel.fileno() is also readable for stderr; this signal is for stdout alone.
        self._ready = make_pipe()
        channel.in_buffer.set_event(self._ready)  # type: ignore[arg-type]
        self._stderr = b""
        self._closed = False

    def send(self, data: bytes, *, by: Deadline) -> None:
        """All of ``data``. Raises LinkLost, BoxDied, DeadlineExpired (then part may be sent)."""
        self._tell("->", data)
        view = memoryview(data)
        while view:
            self._channel.settimeout(by.left(f"{self._what} to take its input"))
            try:
                sent = self._channel.send(view[:32768].tobytes())
            except TimeoutError:
                raise DeadlineExpired(f"{self._what} to take its input", by.seconds) from None
            except (OSError, EOFError, paramiko.SSHException) as problem:
                raise lost(self._vitals, self._what, problem) from problem
            if not sent:
                raise lost(self._vitals, self._what)
            view = view[sent:]

    def receive(self, most: int, *, by: Deadline) -> bytes:
        """1 to ``most`` bytes; b"" when the program has closed its output.

        Raises LinkLost when the connection broke, BoxDied, DeadlineExpired.
        """
        while True:
            self._keep_stderr()
            if self._channel.recv_ready():
                data = self._channel.recv(most)
                self._tell("<-", data)
                return data
            if self._channel.eof_received and not self._channel.recv_ready():
                return b""
            if self._channel.closed:
                raise lost(self._vitals, self._what)
            poll = select.poll()
            poll.register(self._ready.fileno(), select.POLLIN)
            poll.poll(by.left(f"output of {self._what}") * 1000)

    def stderr(self) -> str:
        """The last 4 KiB of what the program said on stderr, for error messages."""
        self._keep_stderr()
        return self._stderr.decode(errors="replace").strip()

    def close(self) -> None:
        """The program sees its input end; its process gets SIGPIPE when it writes on."""
        if self._closed:
            return
        self._closed = True
        hang_up(self._channel)
        self._ready.close()

    def fileno(self) -> int:
        """Readable when receive() will not block; for select and poll only."""
        return int(self._ready.fileno())

    def _tell(self, direction: str, data: bytes) -> None:
        traffic(self._log, direction, b"(hidden)" if self._secret else data)

    def _keep_stderr(self) -> None:
        while self._channel.recv_stderr_ready():
            text = self._channel.recv_stderr(65536)
            self._stderr = (self._stderr + text)[-KEPT_STDERR:]
