"""Who holds a bench: a user, a process, a machine; and whether that process still lives."""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.shown import printable


@dataclass(frozen=True, slots=True)
class Owner:
    """``machine`` tells process numbers of one kernel and one container from all others;
    ``started`` is the process's start time, since numbers are used again (proc(5), field 22)."""

    user: str
    host: str
    pid: int
    started: int
    machine: str
    since: float
    target: str = ""

    @classmethod
    def here(cls, target: str) -> Owner:
        """This process."""
        return cls(
            user=_user(),
            host=socket.gethostname(),
            pid=os.getpid(),
            started=start_time(os.getpid()),
            machine=machine(),
            since=time.time(),
            target=target,
        )

    @classmethod
    def parse(cls, values: Mapping[str, object]) -> Owner | None:
        """None when ``values`` are not an owner's; texts are made harmless and short."""
        texts = [values.get(key) for key in ("user", "host", "machine", "target")]
        pid, started, since = values.get("pid"), values.get("started"), when(values.get("since"))
        if not all(isinstance(text, str) for text in texts) or since is None:
            return None
        # Not bool, which is an int; and no number that the rest of the world cannot take.
        if type(pid) is not int or type(started) is not int or max(abs(pid), abs(started)) >> 63:
            return None
        user, host, on, target = (printable(str(text))[:100] for text in texts)
        return cls(user, host, pid, started, on, since, target)

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    @property
    def alive(self) -> bool | None:
        """Whether the process lives; None when that cannot be seen from here."""
        if self.machine != machine():
            return None
        try:
            return self.pid > 0 and start_time(self.pid) == self.started
        except OSError:
            return None

    @property
    def is_us(self) -> bool:
        return self.alive is True and self.pid == os.getpid()

    def __str__(self) -> str:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.since))
        known = f", as {self.target}" if self.target else ""
        return f"{self.user}@{self.host}, process {self.pid}{known}, since {when}"


def when(value: object) -> float | None:
    """Seconds of the epoch that a calendar can show (NaN and the year 30000 are none)."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and 0 <= value < 1e11 else None  # type: ignore[operator,arg-type]


def machine() -> str:
    """Different for each boot of each kernel, and for each container on it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()} unknown"


def start_time(pid: int) -> int:
    """When the process began, in clock ticks since the boot; -1 when there is none.

    Raises OSError when this machine cannot look: a process that was not seen is not a dead one.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return -1 if fields[0] in "ZX" else int(fields[19])
    except (FileNotFoundError, ProcessLookupError, ValueError, IndexError):
        return -1


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
