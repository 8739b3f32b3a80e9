"""A warm reset by the box's own command, over whichever shell still lets one in."""

from __future__ import annotations

from harness.bench_rig import BenchRig
from harness.console_login import ConsoleLogin
from harness.console_shell import ConsoleShell
from harness.deadline import Deadline
from harness.errors import DeviceRefused, LinkError, RigError, TrustBoxError
from harness.history import History
from harness.ssh import SshShell
from harness.target import Shell
from harness.vitals import Vitals

_REBOOT = ("reboot", "-f")
"""Without asking any service: a box that hangs would wait for the one that hangs."""


def reboot_command(rig: BenchRig, *, by: Deadline) -> str:
    """Run it over SSH, else logged in on the console; returns which.

    Raises DeviceRefused, BenchLost. That it ran is all that is known; a command that ends the box
    ends its own answer, too.
    """
    vitals = Vitals(rig.config.name)  # its own: what is known of the box's death must not stop us
    ssh = SshShell(lambda: rig.config.endpoint, vitals, History())
    try:
        _run(ssh, by.sooner(by.seconds / 3))
        return "over SSH"
    except TrustBoxError as problem:
        why = [f"over SSH: {problem.message}"]
    finally:
        ssh.close()
    login = rig.config.console
    if login is None:
        why.append("on the console: the entry has no console login")
        raise DeviceRefused("; ".join(why))
    rig.confirm_ours()
    try:
        _on_console(rig, login, vitals, by)
    except TrustBoxError as problem:
        why.append(f"on the console: {problem.message}")
        raise DeviceRefused("; ".join(why)) from problem
    return "on the console"


def _run(shell: Shell, by: Deadline) -> None:
    """Raises what says that the command cannot have run."""
    connected = False
    try:
        shell.run("true", by=by)
        connected = True
        shell.run(*_REBOOT, by=by, check=False)
    except (LinkError, RigError):
        if not connected:
            raise


def _on_console(rig: BenchRig, login: ConsoleLogin, vitals: Vitals, by: Deadline) -> None:
    shell = ConsoleShell(rig.lines.main, login, rig.config.layout, vitals, History())
    try:
        _run(shell, by)
    finally:
        shell.close()
