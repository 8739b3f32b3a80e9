"""A kept box presented as a lab bench: SSH at an address, UARTs as devices, power by a command.

Who uses it sees what a bench with a real box shows, and needs no emulator: the harness's bench
code runs against it unchanged.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path

from emulator import run_dir
from emulator.bench_port import BenchPort
from emulator.bench_uart import BenchUart
from emulator.box_store import Box
from emulator.rig import EmulatorRig
from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.errors import TrustBoxError
from harness.target import Console, World
from harness.vitals import Vitals

_BOOT_SECONDS = 24 * 3600.0
"""Somebody may stop in U-Boot for a while; the wait ends with the power in any case."""


class Bench:
    """The outside of a kept box. Its port and paths stay the same until ``close``."""

    def __init__(self, rig: EmulatorRig, consoles: Mapping[World, Console], vitals: Vitals) -> None:
        self._rig, self._vitals = rig, vitals
        with contextlib.ExitStack() as undo:
            self._uarts = {
                world: _uart(rig, world, console, undo)
                for world, console in consoles.items()
                if isinstance(console, SerialConsole)
            }
            self._port = BenchPort(_last_port(rig.box), lambda: rig.ssh_port)
            undo.callback(self._port.close)
            _remember_port(rig.box, self._port.number)
            vitals.subscribe(self._look)
            undo.callback(vitals.unsubscribe, self._look)
            self._undo = undo.pop_all()

    @property
    def ssh_port(self) -> int:
        return self._port.number

    @property
    def uarts(self) -> Mapping[World, Path]:
        """Where the serial devices are."""
        return self._uarts

    def power_lost(self) -> None:
        """Call it before the plug is pulled: see BenchPort."""
        self._port.power_lost()

    def power_given(self) -> None:
        """The box boots: its SSH port opens as soon as its server listens."""
        threading.Thread(target=self.open_when_ready, name="bench-boot", daemon=True).start()

    def open_when_ready(self) -> None:
        """Returns at once for a box that is up; also when it will never be."""
        with contextlib.suppress(TrustBoxError):
            self._rig.wait_ready(by=Deadline.after(_BOOT_SECONDS))
            self._port.open()
            self._look()

    def close(self) -> None:
        self._undo.close()

    def _look(self) -> None:
        """A box that switched itself off is silent too; one that panicked still has power."""
        if not self._rig.running:
            self._port.power_lost()


def _uart(
    rig: EmulatorRig, world: World, console: SerialConsole, undo: contextlib.ExitStack
) -> Path:
    """A path that is the same for every keeper of this box, and leads nowhere without one.

    It leads into the run directory, which goes when the keeper goes, in whatever way: a pty's
    number is soon somebody else's terminal.
    """
    device = BenchUart(rig.directory / f"{world.value}.uart", console)
    undo.callback(device.close)
    path = run_dir.base() / f"{rig.box.serial}.{world.value}"
    path.unlink(missing_ok=True)
    path.symlink_to(device.path)
    undo.callback(path.unlink, missing_ok=True)
    return path


def _last_port(box: Box) -> int:
    """Targets files outlive keepers: the port is the one of last time, if nobody took it."""
    try:
        port = int((box.directory / "bench-port").read_text())
    except (OSError, ValueError):
        return 0
    return port if 1024 <= port <= 65535 else 0


def _remember_port(box: Box, port: int) -> None:
    (box.directory / "bench-port").write_text(f"{port}\n")
