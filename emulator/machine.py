"""What QEMU is told: from a description of the machine to its argument list. Pure.

The machine is QEMU's ``virt`` with a secure world, as the firmware is built for it. Choices here
that are not obvious:

- One processor, as the LS1012A of a TrustBox Edge has. Two make nothing faster that a test waits
  for, and a third is added to the host's work for keeping their translated code in step: the first
  SSH command after a restore took 1.05 s of host CPU with two, 0.70 s with one.
- The user-mode network is *not* ``restrict=on``: enrolment servers of a test run on the host's
  loopback, which the guest reaches as 10.0.2.2. The one way in is SSH, from 127.0.0.1 only, on a
  port that the kernel chooses.
- UARTs are ptys, which pyserial opens like any serial line. QEMU copies their output to a file as
  well, so that a box's last words are kept even when the harness dies.
- The U-Boot environment's flash is there for cold boots only: QEMU reads all 64 MiB of it, and a
  restored machine finds its contents in the saved state.
- ``-sandbox spawn=deny`` keeps a broken-out guest from starting programs. It rules out
  ``exec:`` migration, which is why state moves through inherited descriptors.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = "qemu-system-aarch64"
FACTORY_PORT = "org.trustbox.factory"
GUEST_ADDRESS = "10.0.2.15"
HOST_ADDRESS = "10.0.2.2"
"""Where the guest finds servers that listen on the host's loopback."""


@dataclass(frozen=True, slots=True)
class RamFile:
    """Guest RAM in a file: shared while the template is made, copy-on-write in its clones."""

    path: Path
    share: bool


@dataclass(frozen=True, slots=True)
class Machine:
    """One power cycle of one box. ``ram`` None: anonymous memory, gone with the process."""

    name: str
    flash: Path
    kernel: Path
    initrd: Path
    cmdline: str
    disk: Path
    environment: Path | None = None
    ram: RamFile | None = None
    incoming: bool = False
    durable: bool = False
    """The disk must survive a crash of the host, not only of QEMU."""
    memory_mib: int = 1024
    cpus: int = 1


@dataclass(frozen=True, slots=True)
class Channels:
    """How QEMU and the harness talk: two inherited descriptors, and files for the UARTs' output."""

    qmp_fd: int
    factory_fd: int
    normal_log: Path
    secure_log: Path


def argv(machine: Machine, channels: Channels, *, sandbox: bool = True) -> list[str]:
    """QEMU's arguments, program first. QEMU starts paused and waits for QMP's ``cont``."""
    parts = [
        *(PROGRAM, "-name", f"guest={_value(machine.name)}"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-S"),
        *("-machine", _machine_option(machine)),
        *("-cpu", "cortex-a53", "-smp", str(machine.cpus), "-m", f"{machine.memory_mib}M"),
        *("-accel", "tcg,thread=single", "-object", _ram_option(machine)),
        *("-bios", str(machine.flash), "-kernel", str(machine.kernel)),
        *("-initrd", str(machine.initrd), "-append", machine.cmdline),
        *("-chardev", f"socket,id=qmp,fd={channels.qmp_fd}", "-mon", "chardev=qmp,mode=control"),
        *("-chardev", f"pty,id=normal,logfile={_value(channels.normal_log)}"),
        *("-chardev", f"pty,id=secure,logfile={_value(channels.secure_log)}"),
        *("-serial", "chardev:normal", "-serial", "chardev:secure"),
        *("-blockdev", _json(_disk(machine))),
        *("-device", "virtio-blk-pci,drive=disk"),
        *("-netdev", "user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1:0-:22"),
        *("-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
        *("-chardev", f"socket,id=factory,fd={channels.factory_fd}"),
        *("-device", f"virtserialport,chardev=factory,name={FACTORY_PORT}"),
    ]
    if machine.environment is not None:
        parts += ["-blockdev", _json(_environment_flash(machine.environment))]
    if machine.incoming:
        parts += ["-incoming", "defer"]
    if sandbox:
        parts += ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny"]
    return parts


def shape(memory_mib: int = 1024, cpus: int = 1) -> str:
    """A digest of everything about the machine that a saved state depends on, paths left out."""
    nowhere = Path("/-")
    machine = Machine(
        name="-",
        flash=nowhere,
        kernel=nowhere,
        initrd=nowhere,
        cmdline="-",
        disk=nowhere,
        ram=RamFile(nowhere, share=True),
        memory_mib=memory_mib,
        cpus=cpus,
    )
    arguments = argv(machine, Channels(0, 0, nowhere, nowhere))
    return hashlib.sha256("\0".join(arguments).encode()).hexdigest()


def _machine_option(machine: Machine) -> str:
    base = "virt,secure=on,gic-version=3,acpi=off,memory-backend=ram0"
    return base if machine.environment is None else base + ",pflash1=environment"


def _ram_option(machine: Machine) -> str:
    size = f"id=ram0,size={machine.memory_mib}M"
    if machine.ram is None:
        return f"memory-backend-ram,{size}"
    share = "on" if machine.ram.share else "off"
    return f"memory-backend-file,{size},mem-path={_value(machine.ram.path)},share={share}"


def _disk(machine: Machine) -> dict[str, Any]:
    """Without ``durable`` flushes stop at the host's page cache: QEMU's death loses nothing."""
    return {
        "driver": "qcow2",
        "node-name": "disk",
        "discard": "unmap",
        "cache": {"no-flush": not machine.durable},
        "file": {"driver": "file", "filename": str(machine.disk)},
    }


def _environment_flash(path: Path) -> dict[str, Any]:
    return {
        "driver": "raw",
        "node-name": "environment",
        "read-only": True,
        "file": {"driver": "file", "filename": str(path)},
    }


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _value(value: str | Path) -> str:
    """QEMU's option lists end a value at a comma unless it is doubled."""
    return str(value).replace(",", ",,")
