"""The delivered state of a box, saved once, so that a restore costs a fraction of a boot.

A template is made by a cold boot up to ``ready`` and one session (``warm_up``): guest RAM as a
file, device state, and the disk as it was at that very moment; the three belong together. It is
cached with the box and found again by a key over all that it depends on: image, identity, the
machine's arguments, this file's format.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from emulator import disk
from emulator.box_store import Box, lock
from emulator.life import Life
from emulator.machine import Machine, RamFile, shape
from emulator.reaper import reaper
from emulator.warm_up import warm_up
from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.target import World
from harness.vitals import Vitals

_FORMAT = 4
_PREFIX = "template-"
_OTHERS_KEPT = 2
"""Of the same box: two checkouts of this project that run side by side do not take each other's."""
_BOOT_SECONDS = 180.0
"""A caller's deadline may cover an image build; a boot that never gets ready is noticed sooner."""


@dataclass(frozen=True, slots=True)
class Template:
    """A saved machine. Its files are never written to again."""

    directory: Path

    @property
    def ram(self) -> Path:
        return self.directory / "ram.img"

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def disk(self) -> Path:
        return self.directory / "disk.qcow2"

    @property
    def identity(self) -> tuple[int, ...]:
        """Differs between two templates even when one was made in the other's place."""
        found = (self.ram.stat(), self.state.stat())
        return tuple(n for s in found for n in (s.st_dev, s.st_ino, s.st_mtime_ns))


def cold(
    box: Box,
    *,
    disk: Path,
    environment: Path | None = None,
    durable: bool = False,
    ram: RamFile | None = None,
) -> Machine:
    """The box, about to be switched on."""
    return Machine(
        name=box.serial,
        flash=box.flash,
        kernel=box.image.kernel,
        initrd=box.initrd,
        cmdline=box.image.cmdline,
        environment=environment or box.environment,
        disk=disk,
        durable=durable,
        ram=ram,
    )


def clone(box: Box, template: Template, *, disk: Path, durable: bool = False) -> Machine:
    """The box, about to be continued from its template, on a copy of the template's disk."""
    return Machine(
        name=box.serial,
        flash=box.flash,
        kernel=box.image.kernel,
        initrd=box.initrd,
        cmdline=box.image.cmdline,
        disk=disk,
        durable=durable,
        ram=RamFile(template.ram, share=False),
        incoming=True,
    )


def key(box: Box) -> str:
    parts = (str(_FORMAT), box.image.digest, box.image.cmdline, box.host_key, shape())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def ensure(
    box: Box,
    *,
    consoles: Mapping[World, SerialConsole],
    vitals: Vitals,
    logs: Path,
    by: Deadline,
    progress: Callable[[str], None] = lambda what: None,
) -> Template:
    """The template of the box, made when there is none; by one process at a time.

    While it is made ``consoles`` record that boot and ``vitals`` watches it.
    """
    template = Template(box.own / f"{_PREFIX}{key(box)}")
    with contextlib.suppress(FileNotFoundError):
        os.utime(template.directory)  # when it was used last
        return template
    waiting_for = f"another process to save {box.serial}'s delivered state"
    with lock(box.directory / "template.lock", waiting_for, by=by):
        if not template.directory.exists():
            progress(f"{box.serial}: saving its delivered state for quick restores")
            remove_old(box.directory)
            _make(box, template, consoles, vitals, logs, by)
    return template


def _make(
    box: Box,
    template: Template,
    consoles: Mapping[World, SerialConsole],
    vitals: Vitals,
    logs: Path,
    by: Deadline,
) -> None:
    by = by.sooner(_BOOT_SECONDS)
    new = Template(Path(tempfile.mkdtemp(prefix=".new-template-", dir=box.own)))
    reaper().remove(new.directory)
    try:
        disk.copy(box.blank, new.disk)
        machine = cold(box, disk=new.disk, ram=RamFile(new.ram, share=True))
        vitals.reset()
        life = Life.start(machine, directory=logs, number=0)
        try:
            life.attach(consoles, vitals, by=by)
            life.run(by=by)
            life.factory.wait_ready(by=by)
            warm_up(box, life, vitals, by=by)
            life.save(new.state, by=by)
        finally:
            life.end()
        new.directory.rename(template.directory)
    finally:
        shutil.rmtree(new.directory, ignore_errors=True)
        reaper().keep(new.directory)


def remove_old(of_box: Path) -> None:
    """Those not used for longest, beyond two: each takes some hundred megabytes."""
    found = {}
    for directory in of_box.glob(f"image-*/{_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            found[directory] = directory.stat().st_mtime_ns
    for directory in sorted(found, key=found.__getitem__, reverse=True)[_OTHERS_KEPT:]:
        # Renamed first: an interrupted removal must not look like a template.
        with contextlib.suppress(OSError):
            directory.rename(directory.with_name(f".old-{directory.name}"))
    for leftover in ("image-*/.old-*", "image-*/.new-template-*"):
        for directory in of_box.glob(leftover):
            shutil.rmtree(directory, ignore_errors=True)
