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
from harness.config import EmulatorConfig, choose
from harness.deadline import Deadline
from harness.history import History
from harness.holding import Holding
from harness.probe import probe
from harness.ssh import SshShell
from harness.target import Target


def _silent(what: str) -> None:
    """Progress for nobody."""


@contextmanager
def open_target(
    name: str = "emulator",
    *,
    serial: str | None = None,
    fresh: bool = True,
    by: Deadline,
    config: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Target]:
    """Open the target ``name`` and close everything again on leaving, in reverse.

    ``fresh`` asks for a throwaway copy in the delivered state, where the target can give one;
    otherwise it is the box itself, and what is done to it lasts. ``progress`` hears one line for
    each slow thing. Raises Misuse and BadInput for a wrong name or file, RigError, LinkError,
    UntrustedHost; then nothing is left open.
    """
    chosen = choose(name, config)
    started = time.monotonic()
    with ExitStack() as held:
        holding = _hold(chosen, serial or chosen.serial, fresh, by, progress or _silent)
        held.callback(holding.rig.close)
        history = History()
        ssh = SshShell(holding.endpoint, holding.vitals, history)
        held.callback(ssh.close)
        shell = AgentShell(ssh, holding.layout, holding.vitals, history)
        held.callback(shell.close)
        target = Target(
            name=name,
            serial=holding.serial,
            capabilities=probe(shell, ssh, holding, history, by=by),
            shell=shell,
            streams=ssh,
            consoles=holding.consoles,
            rig=holding.rig,
            layout=holding.layout,
            firmware=holding.firmware,
            evidence_level=holding.evidence_level,
            history=history,
        )
        seconds = time.monotonic() - started
        log = logging.getLogger(f"harness.targets.{name}")
        log.info("%s is ready after %.3f s", holding.serial, seconds)
        yield target


def _hold(
    chosen: EmulatorConfig,
    serial: str,
    fresh: bool,
    by: Deadline,
    progress: Callable[[str], None],
) -> Holding:
    from emulator.opening import hold  # here, so that a station with benches only needs no QEMU

    return hold(name=chosen.name, serial=serial, fresh=fresh, by=by, progress=progress)
