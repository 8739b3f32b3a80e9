"""The process that keeps a box running between commands. Run as ``python -m emulator.keeper``.

It holds the box like any harness does, and lets others use it over its socket (``registry``). It
ends when it is asked to (``stop``) or gets SIGTERM; the box is switched off then, its disk stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from emulator import bench_entry, opening, registry
from emulator.bench import Bench
from emulator.orders import Orders
from emulator.rig import EmulatorRig
from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.errors import BadFrame, DeadlineExpired, TrustBoxError
from harness.holding import Holding
from harness.target import World

_REQUEST_SECONDS = 10.0
_LOOK_UP_SECONDS = 1.0
_BACKLOG = 4096


class Keeper:
    """What can be asked of a kept box; every method answers with something JSON can say."""

    def __init__(self, holding: Holding, rig: EmulatorRig, bench: Bench | None) -> None:
        self.holding, self.rig, self.bench = holding, rig, bench
        self.since = time.time()
        self.stopping = threading.Event()

    def answer(self, request: dict[str, Any]) -> object:
        """Raises any TrustBoxError; BadFrame for what is not a request."""
        seconds = request.get("seconds", 60)
        if not isinstance(seconds, int | float) or not 0 < seconds <= 3600:
            raise BadFrame("seconds must be a number up to 3600")
        by = Deadline.after(float(seconds))
        match request.get("do"):
            case "info":
                return self._info()
            case "on":
                self._apart(lambda: self.rig.on(by=by))
            case "off":
                self._power("off", by)
            case "restore":
                self._apart(lambda: self.rig.restore(by=by))
            case "power":
                self._power(str(request.get("state")), by)
            case "log":
                return self.rig.log()
            case "stop":
                self.stopping.set()
            case other:
                raise BadFrame(f"nobody knows how to {str(other)[:40]!r}")
        return True

    def _power(self, state: str, by: Deadline) -> None:
        """As a relay does it: without waiting for the box."""
        if state not in ("on", "off", "cycle"):
            raise BadFrame("power goes on, off, or through a cycle")
        if state != "on":
            if self.bench is not None:
                self.bench.power_lost()
            self.rig.off()
        if state != "off":
            self.rig.switch_on(by=by)
            if self.bench is not None:
                self.bench.power_given()

    def _apart(self, act: Callable[[], None]) -> None:
        """Put the box through another start, or leave it on; nobody stays connected to the past."""
        before = self.rig.qemu_pid
        act()
        if self.bench is not None and self.rig.qemu_pid != before:
            self.bench.power_lost()
            self.bench.power_given()

    def _info(self) -> dict[str, object]:
        on = self.rig.qemu_pid is not None
        return {
            "serial": self.holding.serial,
            "on": on,
            "died": self.holding.vitals.cause,
            "ssh_port": self.rig.ssh_port if on else None,
            "profile": self.rig.box.image.profile,
            "image": self.rig.box.image.digest,
            "bench": bench_entry.entry(self.rig.box, self.bench) if self.bench else None,
            "keeper_pid": os.getpid(),
            "qemu_pid": self.rig.qemu_pid,
            "since": self.since,
        }

    def watch(self, sock: socket.socket) -> None:
        """One line when the box dies; ends when the other end does."""
        died = threading.Event()
        vitals = self.holding.vitals
        vitals.subscribe(died.set)
        threading.Thread(target=_until_closed, args=(sock, died.set), daemon=True).start()
        try:
            if vitals.cause is None:
                died.wait()
            with contextlib.suppress(OSError):
                sock.sendall(json.dumps({"died": vitals.cause}).encode() + b"\n")
        finally:
            vitals.unsubscribe(died.set)

    def console(self, sock: socket.socket, console: SerialConsole, *, backlog: bool) -> None:
        """Bytes of a UART to ``sock``, beginning with the last few of the past; keys from it."""
        closed = threading.Event()

        def type_into(data: bytes) -> None:
            with contextlib.suppress(TrustBoxError):  # it is off: keys go nowhere
                console.send(data)

        threading.Thread(
            target=_until_closed, args=(sock, closed.set, type_into), daemon=True
        ).start()
        offset = max(0, console.recorded - _BACKLOG) if backlog else console.recorded
        while not closed.is_set():
            try:
                offset, data = console.follow(offset, by=Deadline.after(_LOOK_UP_SECONDS))
                sock.sendall(data)
            except DeadlineExpired:
                continue  # look whether anybody still listens
            except OSError:
                return


class Server(socketserver.ThreadingUnixStreamServer):
    """Serves this user only, each connection in a thread of its own."""

    daemon_threads = True

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        path = registry.address(keeper.holding.serial)
        path.unlink(missing_ok=True)  # we own the box's lock: whoever bound it is gone
        super().__init__(str(path), _Request)
        path.chmod(0o600)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        credentials = request.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return bool(struct.unpack("3i", credentials)[1] == os.getuid())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in mid-request is no news."""


class _Request(socketserver.BaseRequestHandler):
    server: Server

    def handle(self) -> None:
        sock, keeper = self.request, self.server.keeper
        by = Deadline.after(_REQUEST_SECONDS)
        try:
            request = json.loads(registry.read_line(sock, "a request", by=by))
            if not isinstance(request, dict):
                raise BadFrame("a request is an object")
            sock.settimeout(None)
            if request.get("do") == "console":
                console = keeper.holding.consoles[World(request.get("world"))]
                if not isinstance(console, SerialConsole):
                    raise BadFrame("this console cannot be shared")
                self._say({"ok": True})
                keeper.console(sock, console, backlog=bool(request.get("backlog")))
            elif request.get("do") == "watch":
                self._say({"ok": True})
                keeper.watch(sock)
            else:
                self._say({"ok": keeper.answer(request)})
        except TrustBoxError as exc:
            self._say({"error": exc.message, "hint": exc.hint})
        except ValueError as exc:
            self._say({"error": f"not a request: {exc}"})

    def _say(self, answer: dict[str, object]) -> None:
        self.request.sendall(json.dumps(answer).encode() + b"\n")


def _until_closed(
    sock: socket.socket,
    closed: Callable[[], None],
    take: Callable[[bytes], None] = lambda data: None,
) -> None:
    with contextlib.suppress(OSError):
        while data := sock.recv(4096):
            take(data)
    closed()


def keep(orders: Orders, report: Callable[[dict[str, object]], None]) -> None:
    """Hold the box and serve it until stopped. ``report`` hears progress, then ``ready``."""
    serial = orders.serial
    holding = opening.hold_own(
        name=serial,
        serial=serial,
        by=Deadline.after(orders.seconds),
        profile=orders.profile,
        autoboot_seconds=orders.autoboot_seconds,
        progress=lambda what: report({"progress": what}),
    )
    rig = holding.rig
    assert isinstance(rig, EmulatorRig)  # noqa: S101 - hold_own never attaches to a keeper
    with contextlib.ExitStack() as undo:
        undo.callback(rig.close)
        bench = None
        if orders.as_bench:
            bench = Bench(rig, holding.consoles, holding.vitals)
            undo.callback(bench.close)
            bench.open_when_ready()
        keeper = Keeper(holding, rig, bench)
        signal.signal(signal.SIGTERM, lambda number, frame: keeper.stopping.set())
        server = undo.enter_context(Server(keeper))
        undo.callback(registry.address(serial).unlink, missing_ok=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        undo.callback(server.shutdown)
        report({"ready": keeper.answer({"do": "info"})})
        keeper.stopping.wait()


def main(orders: str, report_fd: str) -> None:
    with os.fdopen(int(report_fd), "w", buffering=1) as pipe:

        def report(message: dict[str, object]) -> None:
            with contextlib.suppress(OSError):  # who started us may be gone: carry on
                pipe.write(json.dumps(message) + "\n")
                pipe.flush()

        try:
            keep(Orders.parse(orders), report)
        except TrustBoxError as exc:
            report({"error": exc.message, "hint": exc.hint})
            sys.exit(exc.exit_status)


if __name__ == "__main__":
    main(*sys.argv[1:])
