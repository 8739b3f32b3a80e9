"""What holds an emulated box: gives power, pulls the plug, puts it back to how it was delivered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from emulator import disk, template
from emulator.box_store import Box
from emulator.life import Life, numbers
from emulator.owner import OwnerLock
from emulator.process import PTY_NOTE
from emulator.qmp import Qmp
from emulator.run_dir import RunDir
from emulator.template import Template
from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.errors import RigError
from harness.target import World
from harness.vitals import Vitals


@dataclass(frozen=True, slots=True)
class Clone:
    """A machine that waits for its template's state, on a fresh copy of its template's disk."""

    life: Life
    disk: Path
    identity: tuple[int, ...]


class EmulatorRig:
    """Implements ``Rig``. Thread-safe: calls take turns.

    With ``owner`` the box lives on its own disk, which stays; close() gives up that right. Without
    it its disk is in ``run`` and goes with it. Until the first on() or restore() nothing runs.
    """

    def __init__(
        self,
        box: Box,
        *,
        run: RunDir,
        vitals: Vitals,
        consoles: Mapping[World, SerialConsole],
        owner: OwnerLock | None = None,
        environment: Path | None = None,
        progress: Callable[[str], None] = lambda what: None,
    ) -> None:
        """``environment``: U-Boot's in this flash image instead of the box's own."""
        self.box = box
        self._run, self._vitals, self._consoles = run, vitals, consoles
        self._owner, self._progress = owner, progress
        self._lock = threading.RLock()
        self._numbers = numbers()
        self._life: Life | None = None
        self._disk = box.disk if owner is not None else run.path / "disk.qcow2"
        self._environment = environment or box.environment
        self._booting = False
        self._next: Clone | None = None
        self._last_log = ""

    @property
    def directory(self) -> Path:
        """For what must not outlive this rig; see run_dir."""
        return self._run.path

    @property
    def ssh_port(self) -> int:
        """The port on 127.0.0.1 that leads to the box's SSH. Raises RigError when it is off."""
        life = self._life
        if life is None:
            raise RigError(f"{self.box.serial} is off")
        return life.ssh_port

    @property
    def qemu_pid(self) -> int | None:
        """QEMU's process, for those who want to see it die."""
        life = self._life
        return life.pid if life is not None else None

    @property
    def monitor(self) -> Qmp:
        """QEMU's, for ``emulator.tamper``. Raises RigError when the box is off."""
        life = self._life
        if life is None:
            raise RigError(f"{self.box.serial} is off")
        return life.qmp

    @property
    def running(self) -> bool:
        """False: it is off, or QEMU ended by itself."""
        life = self._life
        return life is not None and life.running

    def switch_on(self, *, by: Deadline) -> None:
        """Give power and come back: the box boots by itself, see ``wait_ready``.

        As with a relay, power that is given already changes nothing, not even for a box that has
        switched itself off. Raises RigError, BoxDied when QEMU does not start.
        """
        with self._lock:
            if self._life is None:
                self._life = self._boot(by)
                self._booting = True

    def wait_ready(self, *, by: Deadline) -> None:
        """Until a box that was switched on is up; others may cut its power meanwhile.

        Raises RigError when it is off, BoxDied, LinkLost, DeadlineExpired.
        """
        life = self._life
        if life is None:
            raise RigError(f"{self.box.serial} is off")
        if self._booting:
            life.factory.wait_ready(by=by)
            with self._lock:
                self._booting = self._booting and self._life is not life

    def on(self, *, by: Deadline) -> None:
        """Cold boot through the whole firmware, until the box says that it is ready.

        Raises BoxDied quoting the console when the firmware refuses to go on, DeadlineExpired,
        RigError; then the box is off. Already on: nothing happens, unless it died: BoxDied.
        """
        with self._lock:
            if self._life is not None:
                if self._life.running:
                    self._vitals.check()
                    self.wait_ready(by=by)
                    return
                self._end()
            life = self._boot(by)
            try:
                life.factory.wait_ready(by=by)
            except BaseException:
                life.end()
                raise
            self._life = life

    def off(self) -> None:
        """Kill QEMU. The disk is as a power cut leaves it. Already off: nothing happens."""
        with self._lock:
            self._end()
            self._end_next()

    def restore(self, *, by: Deadline) -> None:
        """Discard everything since delivery; then the box is on, its time right, reseeded.

        The first restore of a box saves its delivered state, which takes a cold boot. Each one
        starts the QEMU of the next, which waits without running. If this raises, the box is off.
        """
        with self._lock:
            self._end()
            saved = template.ensure(
                self.box,
                consoles=self._consoles,
                vitals=self._vitals,
                logs=self._run.path,
                by=by,
                progress=self._progress,
            )
            clone = self._take(saved)
            try:
                self._attach(clone.life, by)
                clone.life.load(saved.state, by=by)
                clone.life.run(by=by)
                clone.life.factory.wake_restored(by=by)
            except BaseException:
                self._discard(clone)
                raise
            if clone.disk != self._disk:
                self._disk.unlink(missing_ok=True)
            self._life, self._disk = clone.life, clone.disk
            if not self._persistent:
                self._next = self._clone(saved)

    def log(self) -> str:
        """What QEMU said, over all power cycles; the last 64 KiB of it."""
        path = self._run.path / "qemu.log"
        try:
            lines = path.read_bytes()[-65536:].decode(errors="replace").splitlines()
        except OSError:
            return self._last_log
        return "\n".join(line for line in lines if PTY_NOTE not in line)

    def close(self) -> None:
        """Switch off and remove what was temporary. The consoles' records can still be read."""
        with self._lock:
            self._end()
            self._end_next()
            self._last_log = self.log()
            for console in self._consoles.values():
                console.close()
            self._run.close()
            if self._owner is not None:
                self._owner.close()

    @property
    def _persistent(self) -> bool:
        return self._owner is not None

    def _boot(self, by: Deadline) -> Life:
        """A box that has just got power. If this raises, nothing runs."""
        if not self._disk.exists():
            disk.copy(self.box.blank, self._disk)
        machine = template.cold(
            self.box, disk=self._disk, environment=self._environment, durable=self._persistent
        )
        life = Life.start(machine, directory=self._run.path, number=next(self._numbers))
        try:
            self._attach(life, by)
            life.run(by=by)
        except BaseException:
            life.end()
            raise
        return life

    def _attach(self, life: Life, by: Deadline) -> None:
        self._vitals.reset()
        life.attach(self._consoles, self._vitals, by=by)

    def _take(self, saved: Template) -> Clone:
        """The clone that was started ahead, if it is one of this very template; else a new one."""
        clone, self._next = self._next, None
        if clone is not None:
            if clone.life.running and clone.identity == saved.identity:
                return clone
            self._discard(clone)
        return self._clone(saved)

    def _clone(self, saved: Template) -> Clone:
        number = next(self._numbers)
        path = self._disk if self._persistent else self._run.path / f"disk-{number}.qcow2"
        disk.copy(saved.disk, path)
        machine = template.clone(self.box, saved, disk=path, durable=self._persistent)
        identity = saved.identity
        return Clone(Life.start(machine, directory=self._run.path, number=number), path, identity)

    def _end_next(self) -> None:
        clone, self._next = self._next, None
        if clone is not None:
            self._discard(clone)

    def _discard(self, clone: Clone) -> None:
        """End a clone that is not the box (any more), and remove its disk if that is its own."""
        clone.life.end()
        if clone.disk != self._disk:
            clone.disk.unlink(missing_ok=True)

    def _end(self) -> None:
        life, self._life = self._life, None
        self._booting = False
        if life is not None:
            life.end()
            self._vitals.reset()
