"""A bench's SSH host key changed: the new one is read over the console, and somebody says yes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness import adopt_entry, adopt_key, bench_serial
from harness.adopt_look import SSH_DIRECTORY, HostKey, host_keys, parse_key
from harness.bench_opening import hold_rig
from harness.config_bench import BenchConfig
from harness.console_login import ConsoleLogin
from harness.console_shell import ConsoleShell
from harness.deadline import Deadline
from harness.errors import DeviceRefused, Misuse
from harness.history import History
from harness.target import World


@dataclass(frozen=True, slots=True)
class Repinned:
    """``changed`` False: the pinned key is the box's. ``key_added``: ours was gone there, too."""

    old: str
    new: str
    changed: bool
    key_added: bool


def repin(
    config: BenchConfig,
    *,
    serial: str | None,
    file: Path,
    confirm: Callable[[str, str], bool],
    by: Deadline,
    progress: Callable[[str], None] = lambda what: None,
    ssh_directory: str = SSH_DIRECTORY,
    home: str | None = None,
) -> Repinned:
    """Read the box's host key over its console and pin it, when ``confirm(old, new)`` says yes.

    Fingerprints are ``SHA256:…``. A reflash takes our SSH key away as well: it is put back. Raises
    Misuse when the serial number is missing or another, or nobody said yes; IntegrityFailure when
    the box reports another one; DeviceRefused, Unreachable, BenchHeld. Then nothing was changed.
    """
    serial = bench_serial.wanted(config.name, serial, config.serial)
    old = parse_key(config.endpoint.host_key)
    with ExitStack() as held:
        rig = hold_rig(config, serial=serial, progress=progress, even_quarantined=True)
        held.callback(rig.close)
        rig.lines.attach(by=by)
        login = config.console or ConsoleLogin()
        console = rig.lines.consoles[World.NORMAL]
        shell = ConsoleShell(console, login, config.layout, rig.vitals, History())
        held.callback(shell.close)
        progress("logging in on the console")
        told = bench_serial.reported(shell, config.serial_paths, by=by)
        bench_serial.confirm(config.name, serial, told, config.serial_paths)
        new = _same_kind(host_keys(shell, by=by, ssh_directory=ssh_directory), old)
        before = old.fingerprint if old else "(none that can be read)"
        changed = new != old
        if changed and not confirm(before, new.fingerprint):
            raise Misuse(
                f"the host key of {config.name} was not changed: nobody confirmed it",
                hint=f"If the box was reflashed on purpose: --yes {new.fingerprint}",
            )
        added = False
        if config.endpoint.client_key is not None:
            user = config.endpoint.user
            account = adopt_key.account_of(shell, user, by=by, home=home)
            public = adopt_key.public_line(config.endpoint.client_key)
            added = adopt_key.install(shell, account, public, by=by)
    if changed:
        adopt_entry.set_host_key(file, config.name, new.text)
    return Repinned(before, new.fingerprint, changed, added)


def _same_kind(keys: tuple[HostKey, ...], old: HostKey | None) -> HostKey:
    """The key of the pinned one's type, so that only a real change shows as one."""
    if not keys:
        raise DeviceRefused("the box has no SSH host key")
    if old is None:
        return keys[0]
    return next((key for key in keys if key.kind == old.kind), keys[0])
