"""The way to a box, for ``bench_check``: a probe says what is so, or raises what is not."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from harness.bench_answer import answers
from harness.bench_lab import lab_directory, mark_keys
from harness.bench_opening import confirm_serial
from harness.bench_quarantine import refuse
from harness.bench_rig import BenchRig
from harness.deadline import Deadline
from harness.errors import (
    DeadlineExpired,
    DeviceRefused,
    IntegrityFailure,
    Misuse,
    RigError,
    Unreachable,
)
from harness.ssh import SshShell
from harness.ssh_transport import connect

LINK_SECONDS = 20.0
BOOT_SECONDS = 240.0
_PROMPT = re.compile(rb"(?:login:|assword:|[#$>])[ ]?(?:\x1b\[[0-9;?]*[a-zA-Z])*$")


class Skip(Exception):
    """Not looked at, and why. Never leaves ``bench_check``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Bench:
    """A held bench that is looked at; ``power`` permits to cut its power."""

    rig: BenchRig
    ssh: SshShell
    power: bool
    progress: Callable[[str], None]
    patience: float
    """Seconds for what should come at once on a serial line."""

    def run(self, *argv: str) -> tuple[int, str]:
        """Status of a command on the box, and its output or, failing that, its complaint."""
        done = self.ssh.run(*argv, by=Deadline.after(LINK_SECONDS), check=False)
        return done.status, done.text or done.stderr.decode(errors="replace").strip()


@dataclass(frozen=True, slots=True)
class Probe:
    """``mend`` is what a person can do when it fails, besides what the error itself says."""

    name: str
    doing: str
    look: Callable[[Bench], str]
    mend: str = ""
    needs: tuple[str, ...] = ()


def _quarantine(bench: Bench) -> str:
    config = bench.rig.config
    keys = mark_keys(config.line, bench.rig.serial)
    refuse(lab_directory(config.lab_directory), keys, config.name)
    return "not in quarantine"


def _line(bench: Bench) -> str:
    bench.rig.lines.attach(by=Deadline.after(bench.patience))
    return ", ".join(bench.rig.config.uarts.values()) + " is open"


def _address(bench: Bench) -> str:
    endpoint = bench.rig.config.endpoint
    where = f"{endpoint.host}:{endpoint.port}"
    if answers(endpoint, seconds=5.0):
        return f"{where} answers as an SSH server"
    if not (bench.power and bench.rig.has_power):
        raise Unreachable(f"nobody answers as an SSH server at {where}")
    bench.progress("no answer: giving power")
    bench.rig.on(by=Deadline.after(BOOT_SECONDS))
    return f"{where} answers as an SSH server, after power was given"


def _host_key(bench: Bench) -> str:
    with contextlib.suppress(DeviceRefused, Misuse):  # a login comes after the host key was right
        _connect(bench)
    return "the pinned one"


def _login(bench: Bench) -> str:
    _connect(bench)
    bench.rig.awake(by=Deadline.after(LINK_SECONDS))
    return f"{bench.rig.config.endpoint.user} is let in and runs commands"


def _connect(bench: Bench) -> None:
    endpoint, vitals = bench.rig.config.endpoint, bench.rig.vitals
    connect(lambda: endpoint, vitals, by=Deadline.after(LINK_SECONDS)).close()


def _serial(bench: Bench) -> str:
    paths = confirm_serial(bench.rig, by=Deadline.after(LINK_SECONDS))
    return f"{bench.rig.serial} ({paths})"


def _console(bench: Bench) -> str:
    main = bench.rig.lines.main
    for _ in range(3):  # a getty that was just restarted loses the first key
        main.send(b"\r")
        try:
            found = main.expect(_PROMPT, by=Deadline.after(bench.patience / 3))
        except DeadlineExpired:
            continue
        return f"a key brings {found[0].decode(errors='replace').strip()!r}"
    raise DeviceRefused(f"three keys brought no prompt within {bench.patience:.0f} s")


def _same_box(bench: Bench) -> str:
    nonce, tty = secrets.token_hex(12), bench.rig.config.console_tty
    status, said = bench.run("sh", "-c", 'printf "\\r\\n%s\\r\\n" "$1" >"$2"', "sh", nonce, tty)
    if status:
        raise DeviceRefused(f"{tty} on the box cannot be written to: {said[:200]}")
    try:
        heard = re.compile(nonce.encode())
        bench.rig.lines.main.expect(heard, by=Deadline.after(bench.patience))
    except DeadlineExpired as late:
        raise IntegrityFailure(
            f"what was written to {tty} over SSH did not arrive on the serial line"
        ) from late
    return f"what is written to {tty} over SSH arrives on the serial line"


def _power(bench: Bench) -> str:
    rig = bench.rig
    if not rig.can_cycle:
        raise Skip("the entry has no power")
    if not bench.power:
        raise Skip("not asked to cut power: --power")
    evidence = rig.cycle(by=Deadline.after(BOOT_SECONDS))
    if evidence.before == evidence.after:
        raise RigError("the box came back in the life that it had before")
    return f"{evidence} ({evidence.seconds:.0f} s)"


WAY = (
    Probe("quarantine", "looking for a quarantine mark", _quarantine),
    Probe(
        "serial line",
        "opening the serial line",
        _line,
        "serial_url: is the adapter plugged in, may you open it (group dialout), does another"
        " program such as a terminal have it?",
    ),
    Probe(
        "address",
        "calling the address",
        _address,
        "address, port: is the box on and its cable in? With --power it is given power.",
    ),
    Probe(
        "host key",
        "comparing the host key",
        _host_key,
        "host_key: print the box's own key on its console, with"
        " cat /etc/ssh/ssh_host_ecdsa_key.pub, and compare before you pin it.",
        ("address",),
    ),
    Probe("login", "logging in", _login, "user, client_key or password_file.", ("host key",)),
    Probe("serial number", "asking for the serial number", _serial, "", ("login",)),
    Probe(
        "console",
        "pressing a key on the console",
        _console,
        "serial_url, serial_speed: right cable, 115200 8N1, no flow control? Does a getty run on"
        " this UART?",
        ("serial line", "serial number"),
    ),
    Probe(
        "same box",
        "writing to the console over SSH",
        _same_box,
        "Either the cable leads to another box, or console_tty is not the UART that serial_url is.",
        ("serial line", "serial number"),
    ),
    Probe(
        "power",
        "cutting the power",
        _power,
        "power: try its command by hand, and see which box goes off.",
        ("serial line", "serial number"),
    ),
)
