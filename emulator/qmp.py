"""QEMU's machine protocol over a connected socket: one JSON object a line, both ways.

Synchronous on purpose: the rig is the only one who asks, and it asks one thing at a time. Events
that come in between are kept for whoever waits for them (QEMU docs/interop/qmp-spec.txt).
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Any

from harness.deadline import Deadline
from harness.errors import BadFrame, LinkLost, RigError

_LONGEST_LINE = 1024 * 1024
_FORWARD = re.compile(
    r"^\s*TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d{1,5})\s+10\.0\.2\.15\s+22\s+\d+\s+\d+\s*$",
    re.MULTILINE | re.ASCII,
)

_CONNECTION = re.compile(
    r"^\s*TCP\[(?!HOST_FORWARD\])\w+\]\s+-?\d+\s.*\s10\.0\.2\.15\s+22\s", re.MULTILINE | re.ASCII
)


class QmpRefused(RigError):
    """QEMU answered a command with an error. ``error_class`` and ``description`` are QEMU's."""

    def __init__(self, command: str, error_class: str, description: str) -> None:
        super().__init__(f"QEMU refused {command}: {description[:300]}")
        self.command, self.error_class, self.description = command, error_class, description


class Qmp:
    """A session. Thread-safe: a second caller waits until the first has its answer.

    Every method may raise LinkLost (QEMU is gone), BadFrame (not QMP) and DeadlineExpired.
    """

    def __init__(self, sock: socket.socket) -> None:
        """``sock`` is connected to a QMP chardev; the session owns and closes it."""
        self._socket = sock
        self._socket.setblocking(False)
        self._lock = threading.RLock()
        self._buffer = bytearray()
        self._events: deque[dict[str, Any]] = deque(maxlen=256)
        self._last_id = 0

    def negotiate(self, *, by: Deadline) -> None:
        """Read the greeting and leave capability negotiation; needed once, before all else."""
        with self._lock:
            greeting = self._next(by, "QEMU's greeting")
            if "QMP" not in greeting:
                raise BadFrame(f"not QEMU's greeting: {str(greeting)[:200]}")
            self.execute("qmp_capabilities", by=by)

    def execute(
        self, command: str, *, by: Deadline, fds: Sequence[int] = (), **arguments: object
    ) -> Any:
        """The command's return value. Argument names use ``_`` for QMP's ``-``.

        Raises QmpRefused. ``fds`` travel along (for ``getfd``).
        """
        with self._lock:
            self._last_id += 1
            request: dict[str, object] = {"execute": command, "id": self._last_id}
            if arguments:
                request["arguments"] = {k.replace("_", "-"): v for k, v in arguments.items()}
            self._send(json.dumps(request).encode() + b"\n", fds, by)
            return self._answer(command, by)

    def event(
        self,
        names: Collection[str],
        *,
        by: Deadline,
        accept: Callable[[dict[str, Any]], bool] = lambda data: True,
    ) -> dict[str, Any]:
        """The next event called one of ``names`` whose data is accepted; older ones count."""
        with self._lock:
            while True:
                while self._events:
                    event = self._events.popleft()
                    if event["event"] in names and accept(event.get("data", {})):
                        return event
                self._keep(self._next(by, f"QEMU's event {' or '.join(sorted(names))}"))

    def human(self, command: str, *, by: Deadline) -> str:
        """A command of the human monitor, for what QMP has no command for."""
        answer = self.execute("human-monitor-command", by=by, command_line=command)
        if not isinstance(answer, str):
            raise BadFrame(f"QEMU's monitor answered {command} with {type(answer).__name__}")
        return answer

    def ssh_port(self, *, by: Deadline) -> int:
        """The port on 127.0.0.1 that leads to the guest's port 22."""
        return forwarded_port(self.human("info usernet", by=by))

    def ssh_connections(self, *, by: Deadline) -> int:
        """How many TCP connections through the forwarded port the box still holds."""
        return len(_CONNECTION.findall(self.human("info usernet", by=by)))

    def ptys(self, *, by: Deadline) -> dict[str, str]:
        """Character device → path of its pty, for those that are ptys."""
        found: dict[str, str] = {}
        for device in self.execute("query-chardev", by=by):
            kind, _, path = str(device["filename"]).partition(":")
            if kind == "pty":
                found[str(device["label"])] = path
        return found

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()

    def _answer(self, command: str, by: Deadline) -> Any:
        while True:
            message = self._next(by, f"QEMU's answer to {command}")
            if "event" in message:
                self._keep(message)
            elif message.get("id") != self._last_id:
                continue  # the late answer to a command whose caller gave up
            elif "error" in message:
                error = message["error"]
                raise QmpRefused(command, str(error.get("class")), str(error.get("desc")))
            elif "return" in message:
                return message["return"]
            else:
                raise BadFrame(f"QEMU sent neither answer nor event: {str(message)[:200]}")

    def _keep(self, message: dict[str, Any]) -> None:
        if "event" in message:
            self._events.append(message)

    def _next(self, by: Deadline, waiting_for: str) -> dict[str, Any]:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _LONGEST_LINE:
                raise BadFrame("QEMU sent a QMP line of more than 1 MiB")
            self._wait(select.POLLIN, by, waiting_for)
            self._receive(waiting_for)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        try:
            message = json.loads(line)
        except ValueError as exc:
            raise BadFrame(f"QEMU sent a QMP line that is not JSON: {line[:200]!r}") from exc
        if not isinstance(message, dict):
            raise BadFrame(f"QEMU sent a QMP line that is not an object: {line[:200]!r}")
        return message

    def _receive(self, waiting_for: str) -> None:
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return
        except OSError as exc:
            raise LinkLost(f"QEMU went away before {waiting_for}") from exc
        if not data:
            raise LinkLost(f"QEMU went away before {waiting_for}")
        self._buffer += data

    def _send(self, data: bytes, fds: Sequence[int], by: Deadline) -> None:
        rest = memoryview(data)
        while rest:
            self._wait(select.POLLOUT, by, "QEMU to take a command")
            try:
                sent = (
                    socket.send_fds(self._socket, [rest], list(fds))
                    if fds
                    else self._socket.send(rest)
                )
            except BlockingIOError:
                continue
            except OSError as exc:
                raise LinkLost("QEMU went away before it could be asked anything") from exc
            fds = ()
            rest = rest[sent:]

    def _wait(self, events: int, by: Deadline, waiting_for: str) -> None:
        if self._socket.fileno() < 0:
            raise LinkLost(f"the connection to QEMU was closed before {waiting_for}")
        poll = select.poll()
        poll.register(self._socket, events)
        while not poll.poll(by.left(waiting_for) * 1000):
            pass


def forwarded_port(usernet: str) -> int:
    """The port in the answer to ``info usernet``. Raises BadFrame unless there is exactly one."""
    ports = _FORWARD.findall(usernet)
    if len(ports) != 1 or not 0 < int(ports[0]) < 65536:
        raise BadFrame(f"QEMU's answer to info usernet has no single SSH port: {usernet[:500]!r}")
    return int(ports[0])
