"""A box that a keeper holds, seen from another process: the same Holding as any other."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import threading
import tty
from collections.abc import Mapping

from emulator import registry
from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.errors import RigError, TrustBoxError
from harness.target import World
from harness.vitals import Vitals

_ASK_SECONDS = 30.0


class KeptRig:
    """Implements ``Rig`` by asking the keeper. close() leaves the box as it is, running."""

    def __init__(
        self, serial: str, vitals: Vitals, consoles: Mapping[World, SerialConsole]
    ) -> None:
        self._serial, self._vitals, self._consoles = serial, vitals, consoles
        self._open = contextlib.ExitStack()

    def attach(self, *, by: Deadline) -> None:
        """Record the consoles from now on, and learn of the box's death."""
        for world, console in self._consoles.items():
            bridge = Bridge(self._serial, world, by=by)
            self._open.callback(bridge.close)
            console.attach(bridge.path)
            self._open.callback(console.close)
        self._watch(by)

    def image(self, *, by: Deadline) -> str:
        """The digest of the image that the kept box runs."""
        return str(registry.ask(self._serial, "info", by=by)["image"])

    @property
    def ssh_port(self) -> int:
        """Asked anew each time: it changes with every power cycle. RigError when it is off."""
        port = registry.ask(self._serial, "info", by=Deadline.after(_ASK_SECONDS))["ssh_port"]
        if not isinstance(port, int):
            raise RigError(f"{self._serial} is off")
        return port

    def on(self, *, by: Deadline) -> None:
        self._power("on", by)

    def off(self) -> None:
        self._power("off", Deadline.after(_ASK_SECONDS))

    def restore(self, *, by: Deadline) -> None:
        self._power("restore", by)

    def log(self) -> str:
        try:
            return str(registry.ask(self._serial, "log", by=Deadline.after(_ASK_SECONDS)))
        except TrustBoxError as exc:
            return f"no log: {exc}"

    def close(self) -> None:
        self._open.close()

    def _power(self, do: str, by: Deadline) -> None:
        registry.ask(self._serial, do, by=by, seconds=by.left(f"{self._serial} to go {do}"))
        was_dead = self._vitals.cause is not None
        self._vitals.reset()
        if was_dead:
            self._watch(by)

    def _watch(self, by: Deadline) -> None:
        sock, _ = registry.connect(self._serial, {"do": "watch"}, by=by)
        self._open.callback(_hang_up, sock)
        threading.Thread(target=self._listen, args=(sock,), name="watch", daemon=True).start()

    def _listen(self, sock: socket.socket) -> None:
        line = b""
        with sock, contextlib.suppress(OSError), sock.makefile("rb") as lines:
            line = lines.readline(registry.LONGEST_LINE)
        cause = f"the keeper of {self._serial} ended"
        with contextlib.suppress(ValueError, KeyError, TypeError):
            cause = str(json.loads(line)["died"])
        self._vitals.report_death(cause)


class Bridge:
    """A pty whose other end is a kept box's console, so that pyserial can open it."""

    def __init__(self, serial: str, world: World, *, by: Deadline) -> None:
        request = {"do": "console", "world": world.value}
        self._socket, _ = registry.connect(serial, request, by=by)
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._thread = threading.Thread(target=self._carry, name=f"bridge-{world.value}")
        self._thread.daemon = True
        self._thread.start()

    def close(self) -> None:
        """Safe while the console still reads: detach it first, or it sees the line end."""
        _hang_up(self._socket)
        self._thread.join(timeout=5.0)
        self._socket.close()
        os.close(self._slave)
        os.close(self._master)

    def _carry(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                ready = select.select([self._socket.fileno(), self._master], [], [])[0]
                if self._socket.fileno() in ready:
                    data = self._socket.recv(4096)
                    if not data:
                        return
                    _write_all(self._master, data)
                if self._master in ready:
                    self._socket.sendall(os.read(self._master, 4096))


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _hang_up(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
