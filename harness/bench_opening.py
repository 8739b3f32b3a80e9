"""From a bench's entry and a serial number to a held box: what the composition root calls.

::

    --serial given? → not in quarantine? → lock → consoles → SSH (or power) → serial number right?

Each arrow ends the opening when its question is answered with no, and what was taken is given back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from harness import bench_serial
from harness.bench_lab import lab_directory, lab_keys, mark_keys
from harness.bench_lock import BenchLock
from harness.bench_quarantine import refuse
from harness.bench_recovery import recover
from harness.bench_rig import BenchRig
from harness.capability import Capability
from harness.config_bench import BenchConfig
from harness.console import SerialConsole
from harness.deadline import Deadline
from harness.errors import TrustBoxError
from harness.history import History
from harness.holding import Holding
from harness.power import ConfiguredSwitch
from harness.ssh import SshShell
from harness.vitals import Vitals


def hold_bench(
    config: BenchConfig,
    *,
    serial: str | None,
    by: Deadline,
    progress: Callable[[str], None] = lambda what: None,
) -> Holding:
    """A held box, on, which has reported ``serial``. If this raises, nothing is left open.

    Raises Misuse without ``serial`` or when the entry has another one, RigError for a bench in
    quarantine, BenchHeld, Unreachable for a serial line, UntrustedHost, DeviceRefused for a login,
    IntegrityFailure when the box reports another serial number or none, and what ``BenchRig.on``
    raises. Until the serial number was right nothing is asked of the box but that and its boot id,
    and nothing is done to it, except that a box that does not answer is given power.
    """
    serial = bench_serial.wanted(config.name, serial, config.serial)
    rig = hold_rig(config, serial=serial, progress=progress)
    try:
        rig.open(by=by)
        confirm_serial(rig, by=by)
    except BaseException as why:
        try:
            rig.close()
        except TrustBoxError as problem:  # what was wrong at first is what a person must read
            why.add_note(f"and then: {problem.message}")
        raise
    return holding_of(rig, progress=progress)


def holding_of(rig: BenchRig, *, progress: Callable[[str], None] = lambda what: None) -> Holding:
    """What the composition root needs of a rig that is on."""
    config = rig.config
    return Holding(
        serial=rig.serial,
        rig=rig,
        endpoint=rig.endpoint,
        consoles=rig.lines.consoles,
        vitals=rig.vitals,
        layout=config.layout,
        firmware=config.firmware,
        evidence_level=config.evidence,
        rig_capabilities=_capabilities(rig),
        promises=config.promises,
        console_login=config.console,
        recover=lambda why: recover(rig, why=why, progress=progress),
    )


def _capabilities(rig: BenchRig) -> frozenset[Capability]:
    able = {Capability.POWER: rig.has_power, Capability.RESTORE: rig.config.restore is not None}
    return frozenset(capability for capability, can in able.items() if can)


def hold_rig(
    config: BenchConfig,
    *,
    serial: str,
    progress: Callable[[str], None] = lambda what: None,
    even_quarantined: bool = False,
) -> BenchRig:
    """The bench's rig, locked and still untouched; its ``close`` gives the lock back.

    The lock is taken for the serial line and for the serial number: names in targets files are
    everybody's own, and a box may be plugged in elsewhere meanwhile. Raises RigError (quarantine),
    BenchHeld.
    """
    directory = lab_directory(config.lab_directory)
    if not even_quarantined:
        refuse(directory, mark_keys(config.line, serial), config.name)
    vitals, keys = Vitals(config.name), lab_keys(config.line, serial)
    consoles = {world: SerialConsole(world, vitals) for world in config.uarts}

    def lost(why: str) -> None:
        vitals.report_death(why)
        for console in consoles.values():
            console.detach()  # what is typed there is the new owner's

    def confirm_ours() -> None:
        for lock in taken:
            lock.check()

    taken: list[BenchLock] = []
    with ExitStack() as held:
        for key, name in zip(keys, (config.name, serial), strict=True):
            lock = BenchLock(directory, key, name=name, lost=lost)
            dead = lock.take()
            held.callback(lock.release)
            taken.append(lock)
            if dead is not None:
                progress(f"{name}: taken over from {dead}, who is dead")
        locks = held.pop_all()
    return BenchRig(
        config,
        serial=serial,
        vitals=vitals,
        consoles=consoles,
        switch=ConfiguredSwitch(config.name, config.power) if config.power else None,
        give_back=locks.close,
        confirm_ours=confirm_ours,
    )


def confirm_serial(rig: BenchRig, *, by: Deadline) -> str:
    """Ask the box who it is; returns the paths that told. Raises IntegrityFailure."""
    paths = rig.config.serial_paths
    ssh = SshShell(rig.endpoint, rig.vitals, History())
    try:
        told = bench_serial.reported(ssh, paths, by=by)
    finally:
        ssh.close()
    bench_serial.confirm(rig.config.name, rig.serial, told, paths)
    return ", ".join(told)
