"""The composition root: from a target's name to a Target that is on, probed and ready.

The only file that imports the emulator, and only when one is asked for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness.agent_shell import AgentShell
from harness.bench_serial import permitted
from harness.config import TargetConfig, choose
from harness.config_bench import BenchConfig
from harness.console import SerialConsole
from harness.console_shell import ConsoleShell
from harness.deadline import Deadline
from harness.errors import IntegrityFailure
from harness.history import History
from harness.holding import Holding
from harness.probe import Probed, probe
from harness.serial_number import checked_serial
from harness.ssh import SshShell
from harness.target import Firmware, Target, World


def _silent(what: str) -> None:
    """Progress for nobody."""


@contextmanager
def open_target(
    name: str = "emulator",
    *,
    serial: str | None = None,
    lasting: str | None = None,
    fresh: bool = True,
    by: Deadline,
    config: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Target]:
    """Open the target ``name`` and close everything again on leaving, in reverse.

    A bench needs ``serial``, and its box must report it. ``lasting`` repeats the serial number to
    permit what cannot be undone. ``fresh`` asks for a throwaway copy in the delivered state, where
    the target can give one; otherwise it is the box itself, and what is done to it lasts.
    ``progress`` hears one line for each slow thing. Raises Misuse and BadInput for a wrong name or
    file, RigError, LinkError, UntrustedHost, IntegrityFailure for a box with another serial number
    or without what its entry promises; then nothing is left open.
    """
    if serial is not None:
        checked_serial(serial)
    if lasting is not None:
        checked_serial(lasting, where="--lasting")
    chosen = choose(name, config)
    started = time.monotonic()
    with ExitStack() as held:
        permitted(name, serial or chosen.serial or "", lasting)
        holding = _hold(chosen, serial, fresh, by, progress or _silent)
        held.callback(holding.rig.close)
        history = History()
        ssh = SshShell(holding.endpoint, holding.vitals, history)
        held.callback(ssh.close)
        shell = AgentShell(ssh, holding.layout, holding.vitals, history)
        held.callback(shell.close)
        console_shell = _console_shell(holding, history)
        if console_shell is not None:
            held.callback(console_shell.close)
        probed = _promised(name, holding, probe(shell, shell.helpers, holding, history, by=by))
        target = Target(
            name=name,
            serial=holding.serial,
            capabilities=probed.found,
            unknown=probed.unknown,
            shell=shell,
            streams=ssh,
            helpers=shell.helpers,
            consoles=holding.consoles,
            rig=holding.rig,
            layout=holding.layout,
            firmware=holding.firmware,
            evidence_level=holding.evidence_level,
            history=history,
            console_shell=console_shell,
            recover=holding.recover,
            tamper=holding.tamper,
            boot_seen=holding.boot_seen,
            # A throwaway copy forgets everything; a box that was reflashed keeps its fuses.
            lasting=lasting is not None or (fresh and not isinstance(chosen, BenchConfig)),
        )
        seconds = time.monotonic() - started
        log = logging.getLogger(f"harness.targets.{name}")
        log.info("%s is ready after %.3f s", holding.serial, seconds)
        yield target


def firmware_of(
    name: str = "emulator",
    *,
    serial: str | None = None,
    by: Deadline,
    config: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Firmware:
    """What is at hand of a target's firmware: dev kit, keys. Opens no box; an emulated one's image
    is built when it is not there. Raises Misuse and BadInput, RigError when a build fails."""
    chosen = choose(name, config)
    if isinstance(chosen, BenchConfig):
        return chosen.firmware
    from emulator.opening import firmware_of as of_emulator  # as in _hold

    asked = serial or chosen.serial
    told = progress or _silent
    return of_emulator(serial=asked, profile=chosen.profile, by=by, progress=told)


def _console_shell(holding: Holding, history: History) -> ConsoleShell | None:
    """Cold until it is used."""
    console = holding.consoles.get(World.NORMAL)
    if holding.console_login is None or not isinstance(console, SerialConsole):
        return None
    return ConsoleShell(console, holding.console_login, holding.layout, holding.vitals, history)


def _hold(
    chosen: TargetConfig,
    serial: str | None,
    fresh: bool,
    by: Deadline,
    progress: Callable[[str], None],
) -> Holding:
    if isinstance(chosen, BenchConfig):
        from harness.bench_opening import hold_bench  # an emulated box needs nothing of benches

        return hold_bench(chosen, serial=serial, by=by, progress=progress)
    from emulator.opening import hold  # here, so that a station with benches only needs no QEMU

    return hold(
        name=chosen.name,
        serial=serial or chosen.serial,
        profile=chosen.profile,
        fresh=fresh,
        by=by,
        progress=progress,
    )


def _promised(name: str, holding: Holding, probed: Probed) -> Probed:
    """``probed``, once nothing that the entry promises is absent. Raises IntegrityFailure.

    A lab that says its box can do something must hear of it when it cannot: as a missing capability
    it would be a skip, and a broken box would look like a poor one. What could not be told fails
    whoever needs it: the box can be opened, and looked at.
    """
    missing = sorted(c.value for c in holding.promises - probed.found - set(probed.unknown))
    if missing:
        raise IntegrityFailure(
            f"{name} promises {', '.join(missing)}, and {holding.serial} does not show it",
            hint="See why with: trustbox targets check. If the box never had it, take it out of"
            " promises in the target's entry.",
        )
    return probed
