"""First contact without a network: a box at a serial line becomes a bench with a targets entry.

::

    lock --> log in on the console --> who is it? --> our SSH key onto it --> does SSH answer as the
    console said? --> the targets entry, with the host key that was read over the console

The console is the trusted way: whoever holds the cable holds the box. A host key that came from the
network is never pinned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from pathlib import Path

from harness import adopt_entry, adopt_key, bench_serial
from harness.adopt_look import SSH_DIRECTORY, HostKey, Identity, look
from harness.bench_lab import lab_directory, line_key, serial_key
from harness.bench_lock import BenchLock
from harness.config_bench import SERIAL_PATHS, BenchConfig
from harness.config_presets import load_presets
from harness.console import SerialConsole
from harness.console_login import ConsoleLogin
from harness.console_shell import ConsoleShell
from harness.deadline import Deadline
from harness.errors import DeviceRefused, IntegrityFailure, Misuse, TrustBoxError, UntrustedHost
from harness.history import History
from harness.holding import Endpoint
from harness.ssh import SshShell
from harness.target import Layout, Shell, World
from harness.vitals import Vitals

SSH_SECONDS = 5.0
"""Enough for a box that is up; first contact often has no network at all."""
_ANYBODY = Identity(
    serial="TB",
    serial_path=None,
    hostname=None,
    machine=None,
    model=None,
    soc=None,
    addresses=("192.0.2.1",),
    host_keys=(HostKey("ssh-ed25519", bytes(51)),),
)
"""Stands for the box while what a person said is checked."""
_PRESETS = {"LS1012A": "trustbox-edge", "LS1046A": "trustbox-edgexl"}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person says about the bench that shall be. ``serial`` is the label, if it was read.

    ``password_file`` goes into the entry for the console's login, or ``new_password_file`` when it
    was that one's password that let us in; their texts never do.
    """

    name: str
    serial_url: str
    client_key: Path
    speed: int = 115200
    serial: str | None = None
    preset: str | None = None
    address: str | None = None
    port: int = 22
    user: str = "root"
    console_user: str = "root"
    password_file: Path | None = None
    new_password_file: Path | None = None
    ssh_directory: str = SSH_DIRECTORY
    serial_paths: tuple[str, ...] = SERIAL_PATHS
    home: str | None = None
    """Of ``user`` on the box; None: as the box says."""
    layout: Layout = field(default_factory=Layout)


@dataclass(frozen=True, slots=True)
class Adopted:
    """What came of it. ``ssh`` is what SSH said: empty when it answered as it should."""

    identity: Identity
    entry: dict[str, object] = field(repr=False)
    key_added: bool
    ssh: str


@contextmanager
def on_console(wish: Wish, login: ConsoleLogin) -> Iterator[tuple[ConsoleShell, Vitals]]:
    """A shell on the wish's serial line, and nothing of it left open afterwards.

    Raises Unreachable when the line cannot be opened.
    """
    with ExitStack() as held:
        vitals = Vitals(wish.name)
        console = SerialConsole(World.NORMAL, vitals)
        held.callback(console.close)
        console.attach(wish.serial_url, baudrate=wish.speed)
        shell = ConsoleShell(console, login, wish.layout, vitals, History())
        held.callback(shell.close)
        yield shell, vitals


def adopt(
    wish: Wish,
    login: ConsoleLogin,
    file: Path,
    *,
    replace: bool = False,
    by: Deadline,
    progress: Callable[[str], None] = lambda what: None,
) -> Adopted:
    """Make a bench of the box at the serial line and write its entry into ``file``.

    Raises Misuse and BadInput for a name that is taken (without ``replace``), a wrong preset or
    file, BenchHeld, Unreachable and DeviceRefused for the console, IntegrityFailure when the box
    reports another serial number than the label or none, UntrustedHost when SSH at that address
    offers a host key that the box does not have. Then the file is as before.
    """
    if not replace and wish.name in adopt_entry.entries(file):
        raise Misuse(
            f"{file} has a target called {wish.name} already",
            hint="Choose another name, or replace it with --replace.",
        )
    preset = _preset(wish.preset)
    adopt_entry.check(wish.name, _entry(wish, _ANYBODY, "TB", preset), where="the new entry")
    public = adopt_key.ensure_key(wish.client_key)
    replaces = adopt_entry.entries(file).get(wish.name)
    shared = replaces.lab_directory if isinstance(replaces, BenchConfig) else None
    with ExitStack() as held:
        held.callback(_locked(shared, line_key(wish.serial_url), wish.name).release)
        progress(f"logging in on the console at {wish.serial_url}")
        shell, vitals = held.enter_context(on_console(wish, login))
        identity = look(
            shell, by=by, ssh_directory=wish.ssh_directory, serial_paths=wish.serial_paths
        )
        serial = _confirmed(wish, identity)
        held.callback(_locked(shared, serial_key(serial), serial).release)
        progress(f"this is {serial}: {identity.model or identity.machine or 'no model'}")
        if shell.let_in_by is not None and shell.let_in_by is login.new_password:
            wish = replaced(wish, password_file=wish.new_password_file)
        entry = _entry(wish, identity, serial, preset or _PRESETS.get(identity.soc or ""))
        if shared is not None:
            entry["lab_directory"] = str(shared)
        added = _install(shell, wish, public, by)
        progress("trying SSH with the host key that was read over the console")
        ssh = try_ssh(_endpoint(wish, entry), vitals, by=by.sooner(SSH_SECONDS))
    adopt_entry.put(file, wish.name, entry, replace=replace)
    return Adopted(identity, entry, added, ssh)


def try_ssh(endpoint: Endpoint, vitals: Vitals, *, by: Deadline) -> str:
    """Log in and run ``true``; what went wrong as a sentence, or nothing.

    Raises UntrustedHost: somebody else answers there.
    """
    ssh = SshShell(lambda: endpoint, vitals, History())
    try:
        ssh.run("true", by=by)
    except UntrustedHost:
        raise
    except TrustBoxError as problem:
        return problem.message
    finally:
        ssh.close()
    return ""


def _locked(shared: Path | None, key: str, name: str) -> BenchLock:
    lock = BenchLock(lab_directory(shared), key, name=name)
    lock.take()
    return lock


def _preset(name: str | None) -> str | None:
    known = load_presets()
    if name is not None and name not in known:
        raise Misuse(f"there is no preset {name!r}; there are {', '.join(sorted(known))}")
    return name


def _confirmed(wish: Wish, identity: Identity) -> str:
    told = {identity.serial_path: identity.serial} if identity.serial_path else {}
    said = {path: serial for path, serial in told.items() if path and serial}
    if not said:
        raise IntegrityFailure(
            "the box at the console reports no serial number, so no entry can be bound to it",
            hint=f"Write the number of its label into {wish.serial_paths[0]} on the box first.",
        )
    serial = wish.serial or next(iter(said.values()))
    bench_serial.confirm(wish.name, serial, said, wish.serial_paths)
    return serial


def _install(shell: Shell, wish: Wish, public: str, by: Deadline) -> bool:
    account = adopt_key.account_of(shell, wish.user, by=by, home=wish.home)
    return adopt_key.install(shell, account, public, by=by)


def _entry(wish: Wish, identity: Identity, serial: str, preset: str | None) -> dict[str, object]:
    address = wish.address or next(iter(identity.addresses), None)
    if address is None:
        raise DeviceRefused(
            "the box has no network address",
            hint="Give it one, or say with --address where its SSH will be.",
        )
    console: dict[str, object] = {"user": wish.console_user}
    if wish.password_file is not None:
        console["password_file"] = str(wish.password_file.absolute())
    entry: dict[str, object] = {"kind": "bench"}
    # Nobody knows what a box of no known kind can prove: its evidence counts as little as it can.
    entry |= {"preset": preset} if preset else {"evidence": "functional"}
    entry |= {
        "serial": serial,
        "address": address,
        "port": wish.port,
        "user": wish.user,
        "client_key": str(wish.client_key.absolute()),
        "host_key": identity.host_key.text,
        "serial_url": wish.serial_url,
    }
    if wish.speed != 115200:
        entry["serial_speed"] = wish.speed
    if wish.serial_paths != SERIAL_PATHS:
        entry["serial_paths"] = list(wish.serial_paths)
    return entry | {"console": console}


def _endpoint(wish: Wish, entry: dict[str, object]) -> Endpoint:
    return Endpoint(
        host=str(entry["address"]),
        port=wish.port,
        host_key=str(entry["host_key"]),
        user=wish.user,
        client_key=wish.client_key,
    )
