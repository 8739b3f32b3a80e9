"""One table of kind ``bench``: a box at an address, on a serial line, behind a power switch.

docs/benches.md has every key.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.bench_lab import line_key
from harness.boot_markers import Marker, Stage, own_markers
from harness.capability import Capability
from harness.config_bench_parts import (
    RestoreConfig,
    read_console,
    read_firmware,
    read_layout,
    read_restore,
)
from harness.config_power import PowerConfig, read_power
from harness.config_presets import Preset, load_presets, under
from harness.config_secret import read_source
from harness.config_table import Table
from harness.console_login import ConsoleLogin
from harness.holding import Endpoint
from harness.serial_number import FORM, is_serial
from harness.target import EvidenceLevel, Firmware, Layout, World

SERIAL_PATHS = ("/etc/trustbox/serial", "/sys/firmware/devicetree/base/serial-number")
BOOT_MARKERS = ("U-Boot SPL 2", "U-Boot 2", "Booting Linux on physical CPU")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_BOX_PATH = "a path on the box that begins with /"
_KEY_TYPE = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+")


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """A bench's entry, with its preset's keys filled in.

    ``serial`` is the label in the entry, if it has one: a second opinion on ``--serial``, never its
    replacement. ``uarts`` are what pyserial's ``serial_for_url`` opens, ``speed`` their baud rate.
    """

    name: str
    endpoint: Endpoint
    uarts: Mapping[World, str]
    speed: int = 115200
    serial: str | None = None
    preset: str = ""
    console: ConsoleLogin | None = None
    console_tty: str = "/dev/console"
    power: PowerConfig | None = None
    restore: RestoreConfig | None = None
    layout: Layout = field(default_factory=Layout)
    serial_paths: tuple[str, ...] = SERIAL_PATHS
    promises: frozenset[Capability] = frozenset()
    boot_markers: tuple[str, ...] = BOOT_MARKERS
    boot_stages: tuple[Marker, ...] = ()
    """Markers of this box's own for the stages of its boot, before those that are known."""
    firmware: Firmware = field(default_factory=Firmware)
    evidence: EvidenceLevel = EvidenceLevel.HARDWARE
    lab_directory: Path | None = None

    @property
    def line(self) -> str:
        """The normal world's serial line: one for each bench, so it identifies the bench."""
        return self.uarts[World.NORMAL]


def read_bench(values: Mapping[str, object], *, where: str, name: str) -> BenchConfig:
    """Raises BadInput."""
    bare = Table(values, where=where, name=name)
    if not _NAME.fullmatch(name):
        raise bare.bad("kind", "a table's name of letters, digits, '.', '_' and '-'")
    preset = Preset("")
    if "preset" in bare:
        presets = load_presets()
        preset = presets[bare.choice("preset", tuple(presets))]
    table = Table(under(preset.values, values), where=where, name=name)
    table.text("kind")
    table.text_or("preset", "")
    power = table.table_or_none("power")
    found = BenchConfig(
        name=name,
        endpoint=_endpoint(table),
        uarts=_uarts(table),
        speed=table.whole_or("serial_speed", 115200, least=300, most=4_000_000),
        serial=table.text("serial") if "serial" in table else None,
        preset=preset.name,
        console=read_console(table.table_or_none("console"), preset),
        console_tty=_box_path(table, "console_tty", "/dev/console"),
        power=read_power(power) if power is not None else None,
        restore=read_restore(table.table_or_none("restore")),
        layout=read_layout(table.table_or_none("layout")),
        serial_paths=table.texts_or("serial_paths", SERIAL_PATHS),
        promises=_promises(table),
        boot_markers=table.texts_or("boot_markers", BOOT_MARKERS),
        boot_stages=_stages(table.table_or_none("boot_stages")),
        firmware=read_firmware(table.table_or_none("firmware")),
        evidence=_evidence(table, preset),
        lab_directory=table.path("lab_directory") if "lab_directory" in table else None,
    )
    table.finish()
    if found.serial is not None and not is_serial(found.serial):
        raise table.bad("serial", FORM)
    if not found.serial_paths:
        raise table.bad("serial_paths", "at least one path: the box must say which one it is")
    if not all(_is_box_path(path) for path in found.serial_paths):
        raise table.bad("serial_paths", f"{_BOX_PATH} in each place")
    if not found.boot_markers:
        raise table.bad("boot_markers", "at least one text, or no such key for the usual ones")
    return found


def _box_path(table: Table, key: str, default: str) -> str:
    path = table.text_or(key, default)
    if not _is_box_path(path):
        raise table.bad(key, _BOX_PATH)
    return path


def _is_box_path(path: str) -> bool:
    return path.startswith("/") and path.isprintable()


def _endpoint(table: Table) -> Endpoint:
    host_key = table.text("host_key")
    if not _is_public_key(host_key):
        raise table.bad(
            "host_key", "'type base64', a line of ssh-keyscan without the host at its beginning"
        )
    password = read_source(table)
    if ("client_key" in table) == (password is not None):
        raise table.bad("client_key", "exactly one of client_key, password_file, password_command")
    return Endpoint(
        host=table.text("address"),
        port=table.whole_or("port", 22, least=1, most=65535),
        host_key=host_key,
        user=table.text_or("user", "root"),
        client_key=table.path("client_key") if password is None else None,
        password=password,
    )


def _is_public_key(text: str) -> bool:
    words = text.split()
    if len(words) not in (2, 3) or not _KEY_TYPE.fullmatch(words[0]):
        return False
    try:
        return len(base64.b64decode(words[1], validate=True)) > 16
    except binascii.Error:
        return False


def _uarts(table: Table) -> dict[World, str]:
    uarts = {World.NORMAL: table.text("serial_url")}
    if "secure_serial_url" in table:
        uarts[World.SECURE] = table.text("secure_serial_url")
        if line_key(uarts[World.SECURE]) == line_key(uarts[World.NORMAL]):
            raise table.bad("secure_serial_url", "another line than serial_url, or no such key")
    return uarts


def _stages(table: Table | None) -> tuple[Marker, ...]:
    """``optee = "a regular expression"``, one for each stage of ``harness.boot_markers``."""
    if table is None:
        return ()
    names = [stage.name.lower() for stage in Stage]
    given = {name: table.text(name) for name in names if name in table}
    table.finish()
    return own_markers(given, where=table.where, under=table.name)


def _promises(table: Table) -> frozenset[Capability]:
    known = {capability.value: capability for capability in Capability}
    promised = table.texts_or("promises", ())
    for name in promised:
        if name not in known:
            raise table.bad("promises", f"capabilities only, of: {', '.join(sorted(known))}")
    return frozenset(known[name] for name in promised)


def _evidence(table: Table, preset: Preset) -> EvidenceLevel:
    """An entry may lower what its preset allows. Fuses are looked at, never believed."""
    chosen = table.choice("evidence", ("functional", "hardware"), "hardware")
    if chosen == "hardware" and preset.values.get("evidence") == "functional":
        raise table.bad("evidence", f"functional: preset {preset.name} is no hardware")
    return EvidenceLevel(chosen)
