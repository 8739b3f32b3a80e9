"""Connects p11-kit's client on the host with ``p11-kit remote`` on the box.

::

    python-pkcs11 → p11-kit-client.so → Unix socket → [this bridge] → Stream (SSH) → p11-kit remote
        → the box's PKCS#11 module → TEE

The socket is unlinked as soon as it listens: the worker reaches it through an O_PATH descriptor
that it inherits, so nobody else can connect and nothing is left behind, however the harness ends.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, LinkLost, TrustBoxError
from harness.ready import readable
from harness.target import Stream

_START_SECONDS = 20.0
_SEND_SECONDS = 60.0
_LOOK_UP_SECONDS = 0.5
"""How often an idle link is asked whether its box still lives."""


class TokenBridge:
    """Listens from the first moment; each connection gets its own program on the box."""

    def __init__(self, start: Callable[[Deadline], Stream]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._failure: TrustBoxError | None = None
        self._wake_read, self._wake_write = os.pipe()
        self._broken_read, self._broken_write = os.pipe()
        self._listener, self._socket_path = _private_listener()
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    @property
    def address(self) -> str:
        """For P11_KIT_SERVER_ADDRESS of a process that inherits ``descriptors``."""
        return f"unix:path=/proc/self/fd/{self._socket_path}"

    @property
    def descriptors(self) -> Sequence[int]:
        return (self._socket_path,)

    @property
    def failure(self) -> TrustBoxError | None:
        """The first thing that went wrong with the link, if anything did."""
        return self._failure

    @property
    def broken(self) -> int:
        """A descriptor that is readable once ``failure`` is set."""
        return self._broken_read

    def close(self) -> None:
        """Ends the programs on the box. Safe to call twice."""
        if self._wake_write < 0:
            return
        os.close(self._wake_write)  # every thread sees the end of the pipe
        self._wake_write = -1
        for thread in self._threads:
            thread.join()
        self._listener.close()
        os.close(self._socket_path)
        for end in (self._wake_read, self._broken_read, self._broken_write):
            os.close(end)

    def _run(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, name="token-bridge", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            ready = readable([self._listener.fileno(), self._wake_read])
            if self._wake_read in ready:
                return
            connection, _ = self._listener.accept()
            self._run(self._carry, connection)

    def _carry(self, connection: socket.socket) -> None:
        """Never raises: closing the connection is how the module learns that the link is gone."""
        with connection:
            try:
                stream = self._start(Deadline.after(_START_SECONDS))
                try:
                    self._pump(connection, stream)
                finally:
                    stream.close()
            except TrustBoxError as problem:
                self._fail(problem)
            except OSError as problem:
                self._fail(LinkLost(f"the token's link broke: {problem}"))

    def _fail(self, problem: TrustBoxError) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = problem
                os.write(self._broken_write, b"!")

    def _pump(self, connection: socket.socket, stream: Stream) -> None:
        while True:
            watched = [connection.fileno(), stream.fileno(), self._wake_read]
            ready = readable(watched, _LOOK_UP_SECONDS)
            if self._wake_read in ready:
                return
            if connection.fileno() in ready:
                data = connection.recv(65536)
                if not data:
                    return
                stream.send(data, by=Deadline.after(_SEND_SECONDS))
            if not ready or stream.fileno() in ready:
                # Nothing is readable on a dead box either; asking lets the link tell.
                try:
                    data = stream.receive(65536, by=Deadline.after(0.01 if not ready else 1.0))
                except DeadlineExpired:
                    continue
                if not data:
                    raise LinkLost("p11-kit on the box ended")
                connection.sendall(data)


def _private_listener() -> tuple[socket.socket, int]:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with tempfile.TemporaryDirectory(prefix="trustbox-token-") as directory:  # made 0700
        path = Path(directory) / "s"
        listener.bind(str(path))
        listener.listen(4)
        return listener, os.open(path, os.O_PATH | os.O_CLOEXEC)
