"""The ladder for a box that does not answer: from what costs nothing to what needs a person.

::

    SSH → SysRq on the console → reboot command → power cycle → quarantine

Each rung is tried once, logged with its cost in seconds, and ends the climb when the shell answers.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from harness.bench_lab import lab_directory, mark_keys
from harness.bench_lock import BenchLost
from harness.bench_quarantine import quarantine
from harness.bench_reset import reboot_command
from harness.bench_rig import BenchRig
from harness.deadline import Deadline
from harness.errors import DeviceRefused, NetworkFailed, RigError, TrustBoxError

SSH_SECONDS = 15.0
SIGN_SECONDS = 15.0
"""How soon after a reset the first boot text must come; a SysRq that is not heard costs this."""
BOOT_SECONDS = 240.0
_SYSRQ = b"sub"
"""Sync, remount read-only, reboot (Linux Documentation/admin-guide/sysrq.rst)."""
_KEY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Rung:
    """One attempt: whether the box answers now, one sentence, and what it cost in seconds."""

    name: str
    worked: bool
    said: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.name}: {self.said} ({self.seconds:.1f} s)"


@dataclass(frozen=True, slots=True)
class _Times:
    ssh: float
    sign: float
    boot: float


def recover(
    rig: BenchRig,
    *,
    why: str,
    progress: Callable[[str], None] = lambda what: None,
    ssh_seconds: float = SSH_SECONDS,
    sign_seconds: float = SIGN_SECONDS,
    boot_seconds: float = BOOT_SECONDS,
) -> tuple[Rung, ...]:
    """Climb until the box answers; returns the rungs, the last of which worked.

    ``why`` is what was wrong, for the log and the mark. The times bound, in seconds, an answer over
    SSH, the first sign of a reset, and a boot. Raises RigError when no rung helped: then
    the bench is in quarantine, and nobody opens it until ``trustbox targets release``. Raises
    BenchLost as soon as somebody else has the bench, NetworkFailed as soon as this machine cannot
    ask the box: then nothing more is done, and no mark left.
    """
    log = logging.getLogger(f"harness.bench.{rig.config.name}")
    climbed: list[Rung] = []
    times = _Times(ssh_seconds, sign_seconds, boot_seconds)
    for name, attempt in _LADDER:
        rig.confirm_ours()
        started = time.monotonic()
        try:
            worked, said = True, attempt(rig, times)
        except (BenchLost, NetworkFailed):
            raise  # what this machine could not ask is nothing against the box
        except TrustBoxError as problem:
            worked, said = False, problem.message
        rung = Rung(name, worked, said, time.monotonic() - started)
        climbed.append(rung)
        rig.note(f"recovery, {rung}")
        log.warning("%s, recovery, %s", rig.serial, rung)
        progress(f"{rig.config.name}: {rung}")
        if worked:
            return tuple(climbed)
    rig.confirm_ours()
    name, reason = rig.config.name, f"{why}; {'; '.join(map(str, climbed))}"
    lab, keys = lab_directory(rig.config.lab_directory), mark_keys(rig.config.line, rig.serial)
    quarantine(lab, keys, serial=rig.serial, reason=reason)
    rig.note("in quarantine")
    raise RigError(
        f"{name} ({rig.serial}) could not be brought back and is in quarantine: {reason}",
        hint="Look at the box; when it is well: trustbox targets release"
        f" {name} --serial {rig.serial}",
    )


def _ssh(rig: BenchRig, times: _Times) -> str:
    """A box that somebody gave up may answer all the same: a lost connection is not a dead box."""
    rig.awake(by=Deadline.after(times.ssh))
    return "answers"


def _sysrq(rig: BenchRig, times: _Times) -> str:
    by = Deadline.after(times.sign)
    rig.lines.attach(by=by)
    mark = rig.lines.mark()
    for key in _SYSRQ:
        rig.confirm_ours()
        rig.lines.main.send_break()
        rig.lines.main.send(bytes([key]))
        threading.Event().wait(by.slice("SysRq", _KEY_SECONDS))
    return _reboot_seen(rig, mark, by, times)


def _reset(rig: BenchRig, times: _Times) -> str:
    mark = rig.lines.mark()
    how = reboot_command(rig, by=Deadline.after(times.sign + 5.0))
    return f"{how}; {_reboot_seen(rig, mark, Deadline.after(times.sign), times)}"


def _cycle(rig: BenchRig, times: _Times) -> str:
    return str(rig.cycle(by=Deadline.after(times.boot)))


def _reboot_seen(rig: BenchRig, mark: int, by: Deadline, times: _Times) -> str:
    """The boot that a reset led to, once its first text was seen. Raises DeviceRefused."""
    while not (said := rig.lines.boot_text(mark)):
        if by.expired:
            raise DeviceRefused("no boot followed")
        threading.Event().wait(0.2)
    rig.reborn(mark, by=Deadline.after(times.boot))
    return f"booted anew, {said!r}"


_LADDER: tuple[tuple[str, Callable[[BenchRig, _Times], str]], ...] = (
    ("SSH", _ssh),
    ("SysRq on the console", _sysrq),
    ("reboot command", _reset),
    ("power cycle", _cycle),
)
