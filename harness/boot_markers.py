"""The lines by which a stage of the boot is known, for both boot chains, and markers of one's own.

PPA (TrustBox Edge, LS1012A): SPL, PPA with OP-TEE as its loadable, U-Boot, Linux. TF-A (EdgeXL,
LS1046A, and the emulator): BL1 or the boot ROM, BL2, BL31 with OP-TEE as BL32, U-Boot, Linux.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from harness.errors import BadInput
from harness.shown import HIDDEN

LONGEST_PATTERN = 200
"""Characters of a marker of one's own."""


class Stage(Enum):
    """In the order of power-on; the value is what people read."""

    FIRST = "first stage"
    """What the boot ROM loads: BL1 and BL2, or U-Boot's SPL. The ROM itself says nothing."""
    MONITOR = "EL3 firmware"
    """BL31, or PPA."""
    OPTEE = "OP-TEE"
    UBOOT = "U-Boot"
    KERNEL = "Linux"
    READY = "login"

    @property
    def rank(self) -> int:
        """0 for the first stage, one more for each later one."""
        return _RANKS[self]


_RANKS: Mapping[Stage, int] = {stage: rank for rank, stage in enumerate(Stage)}


class Chain(Enum):
    """Which firmware chain the lines belong to."""

    PPA = "PPA"
    TFA = "TF-A"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Marker:
    """A line that matches belongs to ``stage``.

    ``greeting``: it is printed once in a boot, so seeing it again means another boot.
    """

    stage: Stage
    pattern: re.Pattern[str]
    greeting: bool = False
    chain: Chain = Chain.UNKNOWN


def _greeting(stage: Stage, pattern: str, chain: Chain = Chain.UNKNOWN) -> Marker:
    return Marker(stage, re.compile(pattern, re.ASCII), True, chain)


def _sign(stage: Stage, pattern: str, chain: Chain = Chain.UNKNOWN) -> Marker:
    return Marker(stage, re.compile(pattern, re.ASCII), False, chain)


MARKERS: tuple[Marker, ...] = (
    # TF-A bl1_main.c, bl2_main.c, bl31_main.c; the NOTICE level is on in release builds.
    _greeting(Stage.FIRST, r"NOTICE: +Booting Trusted Firmware", Chain.TFA),
    _greeting(Stage.FIRST, r"NOTICE: +BL2: v\d", Chain.TFA),
    _sign(Stage.FIRST, r"(?:NOTICE|INFO|WARNING|ERROR): +BL[12]: ", Chain.TFA),
    _sign(Stage.FIRST, r"NOTICE: +(?:Fixed DDR on board|\d+ GB DDR|UDIMM )", Chain.TFA),
    _greeting(Stage.MONITOR, r"NOTICE: +BL31: v\d", Chain.TFA),
    _sign(Stage.MONITOR, r"NOTICE: +Welcome to \S{1,20} BL31 Phase", Chain.TFA),
    # U-Boot common/spl/spl.c; NXP's PPA loader in arch/arm/cpu/armv8/fsl-layerscape/ppa.c.
    _greeting(Stage.FIRST, r"U-Boot SPL \d{4}\.\d\d"),
    _greeting(Stage.MONITOR, r"PPA Firmware: Version ", Chain.PPA),
    _sign(Stage.MONITOR, r"SEC Firmware: 'loadables' present", Chain.PPA),
    # OP-TEE core/kernel/boot or core/arch/arm/kernel/boot.c, release 3 and 4.
    _greeting(Stage.OPTEE, r"I/TC: OP-TEE version: "),
    _sign(Stage.OPTEE, r"(?:I/TC: |^)Successfully captured Cyres "),
    _sign(Stage.OPTEE, r"I/TC: (?:Initialized$|Primary CPU )"),
    # U-Boot lib/display_options.c, common/autoboot.c.
    _greeting(Stage.UBOOT, r"(?<![ -~])U-Boot \d{4}\.\d\d"),
    _sign(Stage.UBOOT, r"Hit any key to stop autoboot"),
    _sign(Stage.UBOOT, r"^=> ?$"),
    # U-Boot boot/bootm.c says so just before it jumps; the others are Linux' own first words.
    _sign(Stage.KERNEL, r"Starting kernel \.\.\."),
    _sign(Stage.KERNEL, r"EFI stub: Booting Linux"),
    _sign(Stage.KERNEL, r"Booting Linux on physical CPU 0x"),
    _greeting(Stage.KERNEL, r"^\[ *\d+\.\d{6}\] Linux version \d"),
    # agetty and busybox getty; what somebody typed, or the kernel said, may follow on the line.
    _sign(Stage.READY, r"^[\w.-]{1,64} login:(?: |$)"),
)
"""Looked for in this order; the first that matches names a line's stage."""


def own_markers(
    table: Mapping[str, str], *, where: str, under: str = "boot_stages"
) -> tuple[Marker, ...]:
    """Markers from a targets entry: stage name to regular expression, searched in each line.

    Stage names are those of ``Stage`` in lower case: ``first``, ``monitor``, ``optee``, ``uboot``,
    ``kernel``, ``ready``. Raises BadInput naming the file
    ``where`` and the key, below ``under``.
    """
    names = {stage.name.lower(): stage for stage in Stage}
    found = []
    for name, pattern in table.items():
        if name not in names:
            raise BadInput(
                where=where,
                key=f"{under}.{name}",
                value=HIDDEN,
                expected=f"one of {sorted(names)}",
            )
        if not pattern or len(pattern) > LONGEST_PATTERN:
            expected = f"a regular expression of 1 to {LONGEST_PATTERN} characters"
            raise BadInput(where=where, key=f"{under}.{name}", value=pattern, expected=expected)
        try:
            found.append(Marker(names[name], re.compile(pattern)))
        except re.error as problem:
            expected = f"a regular expression ({problem})"
            raise BadInput(
                where=where, key=f"{under}.{name}", value=pattern, expected=expected
            ) from problem
    return tuple(found)
