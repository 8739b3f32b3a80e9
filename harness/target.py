"""THE interface: what a TrustBox is to everything above, real or emulated.

Rigs differ in what *holds* the box; what *talks* to it is the same code for all of them. Nothing
above this file may ask which kind of rig it has: it names capabilities, which were probed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from harness.boot_seen import BootSeen
from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import MissingCapability, TrustBoxError
from harness.history import History
from harness.remedies import remedy
from harness.secret import Secret
from harness.serial_health import SerialHealth
from harness.tamper import Tamper

if TYPE_CHECKING:
    from harness.helpers import Helpers


class World(Enum):
    """The two worlds of a TrustZone processor; each may log on a UART of its own."""

    NORMAL = "normal"
    SECURE = "secure"


class EvidenceLevel(Enum):
    """What evidence from this target can prove at best (device-facts 7(a))."""

    FUNCTIONAL = "functional"
    """An emulator: the hardware key is known, flash is writable. Proves that the code works."""
    HARDWARE = "hardware"
    HARDWARE_FUSED = "hardware+fused"


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished command: exact bytes, and its status (a signal gives 128 + its number)."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def text(self) -> str:
        """stdout as UTF-8 without the last line end; foreign bytes become U+FFFD."""
        return self.stdout.decode(errors="replace").rstrip("\n")


class Shell(Protocol):
    """A root shell in the normal world; stateless: no directory or variable outlives a call."""

    def run(self, *argv: str, by: Deadline, stdin: bytes = b"", check: bool = True) -> Completed:
        """Run one program and wait for it. argv reaches it unchanged, word for word.

        Raises CommandFailed when ``check`` and the status is not 0, DeadlineExpired, LinkLost
        (then it is unknown whether it ran to its end), BoxDied. Output over the shell's bound is
        an error, never a cut answer.
        """

    def read(self, path: str, *, by: Deadline) -> bytes:
        """The whole file. Raises DeviceRefused when it cannot be read."""

    def write(self, path: str, data: bytes, *, by: Deadline, mode: int = 0o600) -> None:
        """Replace the file atomically, with exactly ``mode``; a power cut leaves old or new."""


class SerialShell(Shell, Protocol):
    """A shell over a UART, which counts how well the line carries."""

    def health(self) -> SerialHealth:
        """Counters so far; the difference of two is the time between them. Asks the box nothing."""


class Stream(Protocol):
    """Bytes to and from a program on the box, for as long as it runs."""

    def send(self, data: bytes, *, by: Deadline) -> None: ...
    def receive(self, most: int, *, by: Deadline) -> bytes:
        """1 to ``most`` bytes; b"" when the program has closed its output."""

    def close(self) -> None: ...
    def fileno(self) -> int:
        """A descriptor that is readable when receive() will not block (for select)."""


class Streams(Protocol):
    """What can start long-lived programs on the box: the SSH shell."""

    def stream(self, *argv: str, by: Deadline, secret: bool = False) -> Stream:
        """Start one; ``secret`` keeps its bytes out of every log, at every level."""


@dataclass(frozen=True, slots=True)
class ConsoleLine:
    """One recorded line: seconds on the monotonic clock of its first byte, and its text."""

    at: float
    text: str


class Console(Protocol):
    """One UART; it records from the moment it is opened, whether or not anybody looks."""

    @property
    def began(self) -> float:
        """When the box that is recorded now was switched on or restored by the rig, or else when
        its line was attached (monotonic seconds)."""

    def expect(self, pattern: re.Pattern[bytes], *, by: Deadline) -> re.Match[bytes]:
        """Wait for the pattern in what came since the last match; BoxDied at once on a panic."""

    def send(self, data: bytes) -> None: ...
    def transcript(self) -> bytes:
        """Everything recorded so far, over all power cycles."""

    def lines(self, *, since: float = 0.0) -> list[ConsoleLine]:
        """Recorded lines of which a byte came at or after ``since`` (monotonic seconds).

        So a prompt that waited counts as soon as something is written behind it.
        """


class Rig(Protocol):
    """What holds the box: a bench with a relay, or a QEMU process."""

    def on(self, *, by: Deadline) -> None:
        """Give power and wait until the shell answers. Already on: nothing happens."""

    def off(self) -> None:
        """Pull the plug, say no goodbye. Already off: nothing happens."""

    def restore(self, *, by: Deadline) -> None:
        """Back to the state it was delivered in, and on (needs Capability.RESTORE)."""

    def log(self) -> str:
        """What the rig itself has to say (QEMU's messages, relay answers), for reports."""

    def close(self) -> None:
        """Power off if it was us who switched on, and leave nothing behind. Safe to call twice."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are on the box. The defaults are Debian's."""

    ta_directory: str = "/usr/lib/optee_armtz"
    storage_root: str = "/var/lib/optee-client/data/tee"
    pkcs11_module: str = "/usr/lib/aarch64-linux-gnu/libckteec.so.0"
    softhsm_module: str = "/usr/lib/softhsm/libsofthsm2.so"
    p11_kit: str = "/usr/bin/p11-kit"
    pkcs11_provider: str = ""
    """OpenSSL's pkcs11.so, where OpenSSL does not find it by itself."""
    tee_device: str = "/dev/tee0"
    agent_directory: str = "/run"
    identity_directory: str = "/etc/trustbox"
    edge_config: str = "/etc/aziot/config.toml"
    """What ``aziotctl config apply`` reads by default."""
    xtest: str = "/usr/bin/xtest"
    xtest_tas: str = "/usr/lib/trustbox/xtest"
    """OP-TEE's test suite, and its TAs, signed for this box's firmware and kept out of its way."""


@dataclass(frozen=True, slots=True)
class Firmware:
    """What the maker of the box's firmware gave us besides the firmware; None: not at hand."""

    version: str = ""
    devkit: Path | None = None
    """TA dev kit of the same OP-TEE build (``export-ta_arm64``)."""
    ta_signing_key: Path | None = None
    ta_encryption_key: Secret | None = None
    """What this very box's TEE decrypts TAs with (32 bytes, from its hardware unique key)."""
    golden_tee: bytes | None = None
    """SHA-256 of the OP-TEE core's code and constants, computed from its ELF file (32 bytes)."""
    image_digest: str = ""
    manifest: Path | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One box, ready to be talked to. Made by ``harness.targets.open_target`` only."""

    name: str
    serial: str
    capabilities: frozenset[Capability]
    """Those that were found."""
    shell: Shell
    streams: Streams | None
    consoles: Mapping[World, Console]
    rig: Rig
    layout: Layout = field(default_factory=Layout)
    firmware: Firmware = field(default_factory=Firmware)
    evidence_level: EvidenceLevel = EvidenceLevel.FUNCTIONAL
    history: History = field(default_factory=History)
    helpers: Helpers | None = None
    """What runs on the box for its shell and for TEE clients; None: no TEE can be talked to."""
    console_shell: SerialShell | None = None
    """The shell over the normal world's UART, which logs in with its first request; None: who logs
    in there is not known."""
    recover: Callable[[str], object] | None = None
    """Bring back a box that does not answer, given why that is believed; RigError when nothing
    helps. None: the rig has nothing better than off, on and restore."""
    tamper: Tamper | None = None
    """Changes live secure memory (Capability.TAMPER)."""
    boot_seen: Callable[[], BootSeen] | None = None
    """What the rig can tell of the box's boot; None: ask the box."""
    unknown: Mapping[Capability, TrustBoxError] = field(default_factory=dict)
    """What could not be told, each with the error that kept it from being told. What is in neither
    ``capabilities`` nor here is absent."""
    lasting: bool = False
    """Whether somebody permitted, for this very box, what cannot be undone."""

    def require(self, *needs: Capability) -> None:
        """Raises MissingCapability, naming every one of ``needs`` that this box lacks; its hint
        says what of the box's firmware would bring them. For one that could not be told it raises
        the error that kept it from being told, first: what is broken is never "cannot do that".
        """
        for need in needs:
            if need in self.unknown:
                raise self.unknown[need].with_traceback(None)
        missing = self.missing(needs)
        if missing:
            names = (c.value for c in missing)
            raise MissingCapability(self.name, names, hint=remedy(missing))

    def missing(self, needs: Iterable[Capability]) -> list[Capability]:
        """Those of ``needs`` that are absent; one that could not be told is not among them."""
        lacking = {c for c in needs if c not in self.capabilities and c not in self.unknown}
        return sorted(lacking, key=lambda c: c.value)
