"""What a rig hands over: everything the composition root needs to make a Target of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.boot_seen import BootSeen
from harness.capability import Capability
from harness.console_login import ConsoleLogin
from harness.secret import Secret
from harness.tamper import Tamper
from harness.target import Console, EvidenceLevel, Firmware, Layout, Rig, World
from harness.vitals import Vitals


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where SSH answers and who must answer there.

    ``host_key`` is the pinned key as in known_hosts without the host: ``type base64``. One of
    ``client_key`` (an OpenSSH private key file, 0600) and ``password`` is set.
    """

    host: str
    port: int
    host_key: str
    user: str = "root"
    client_key: Path | None = None
    password: Callable[[], Secret] | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """A held box. ``endpoint`` is asked anew for each connection: an emulator's port changes."""

    serial: str
    rig: Rig
    endpoint: Callable[[], Endpoint]
    consoles: Mapping[World, Console]
    vitals: Vitals
    layout: Layout = field(default_factory=Layout)
    firmware: Firmware = field(default_factory=Firmware)
    evidence_level: EvidenceLevel = EvidenceLevel.FUNCTIONAL
    rig_capabilities: frozenset[Capability] = frozenset()
    promises: frozenset[Capability] = frozenset()
    """What the box must be found to have: missing ones are failures, not skips."""
    console_login: ConsoleLogin | None = None
    """Who logs in on the normal world's UART; None: not known."""
    recover: Callable[[str], object] | None = None
    """See ``Target.recover``."""
    tamper: Tamper | None = None
    """See ``Target.tamper``; with it the rig promises Capability.TAMPER."""
    boot_seen: Callable[[], BootSeen] | None = None
    """See ``Target.boot_seen``."""
