"""One power cycle: a QEMU process with everything that hangs on it."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from emulator import snapshot
from emulator.factory_port import FactoryPort
from emulator.machine import Channels, Machine, argv
from emulator.process import Process
from emulator.qmp import Qmp
from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.errors import LinkLost, RigError
from harness.target import World
from harness.vitals import Vitals

_LABELS = {World.NORMAL: "normal", World.SECURE: "secure"}
_LAST_WORDS_SECONDS = 2.0


class Life:
    """Starts paused; ``attach`` before ``run``; ``end`` is a pulled plug. Not thread-safe."""

    def __init__(self, process: Process, qmp: Qmp, factory: socket.socket) -> None:
        self._process, self._qmp, self._factory_socket = process, qmp, factory
        self._factory: FactoryPort | None = None
        self._consoles: Mapping[World, SerialConsole] = {}
        self.ssh_port = 0

    @classmethod
    def start(cls, machine: Machine, *, directory: Path, number: int) -> Life:
        """A paused machine that is about to answer; this does not wait for it.

        Its logs go to ``directory``, named after ``number``. If this raises, nothing runs.
        """
        with contextlib.ExitStack() as undo:
            qmp_ours, qmp_theirs = socket.socketpair()
            factory_ours, factory_theirs = socket.socketpair()
            for end in (qmp_ours, qmp_theirs, factory_ours, factory_theirs):
                undo.callback(end.close)
            channels = Channels(
                qmp_theirs.fileno(),
                factory_theirs.fileno(),
                directory / f"normal-{number}.log",
                directory / f"secure-{number}.log",
            )
            process = Process.start(
                argv(machine, channels),
                fds=(channels.qmp_fd, channels.factory_fd),
                log=directory / "qemu.log",
            )
            undo.callback(process.kill)
            qmp_theirs.close()
            factory_theirs.close()
            undo.pop_all()
        return cls(process, Qmp(qmp_ours), factory_ours)

    @property
    def running(self) -> bool:
        return not self._process.ended

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def qmp(self) -> Qmp:
        return self._qmp

    @property
    def factory(self) -> FactoryPort:
        if self._factory is None:
            raise RigError("the machine was not attached yet")
        return self._factory

    def attach(
        self, consoles: Mapping[World, SerialConsole], vitals: Vitals, *, by: Deadline
    ) -> None:
        """Record both UARTs from now on, listen on the factory port, learn the SSH port.

        When QEMU ends by itself from now on, or already has, ``vitals`` learns it; so BoxDied.
        """
        self._process.tell(vitals.report_death)
        try:
            self._qmp.negotiate(by=by)
        except LinkLost:
            vitals.settle(_LAST_WORDS_SECONDS)
            vitals.check()  # QEMU's own reason says more
            raise
        ptys = self._qmp.ptys(by=by)
        self._consoles = consoles
        for world, console in consoles.items():
            try:
                console.attach(ptys[_LABELS[world]])
            except KeyError as exc:
                raise RigError(f"QEMU has no pty for the {world.value} world's console") from exc
        self._factory = FactoryPort(self._factory_socket, vitals)
        self.ssh_port = self._qmp.ssh_port(by=by)

    def load(self, state: Path, *, by: Deadline) -> None:
        snapshot.load(self._qmp, state, by=by)

    def save(self, state: Path, *, by: Deadline) -> None:
        snapshot.save(self._qmp, state, by=by)

    def run(self, *, by: Deadline) -> None:
        self._qmp.execute("cont", by=by)

    def end(self) -> None:
        """Kill QEMU and wait for its end; the consoles keep what it said. Safe to call twice."""
        self._process.kill()
        for console in self._consoles.values():
            console.detach()
        if self._factory is not None:
            self._factory.close()
        else:
            self._factory_socket.close()
        self._qmp.close()


def numbers() -> Iterator[int]:
    """Numbers for a rig's power cycles."""
    return itertools.count(1)
