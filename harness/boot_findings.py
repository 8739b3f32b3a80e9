"""What in a boot's log somebody must know about: findings, each with what it means. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from harness.shown import printable
from harness.target import ConsoleLine

LONGEST_QUOTE = 200
"""Characters of a quoted line."""


class Weight(Enum):
    """How bad a finding is."""

    STOPS = "stops"
    """The boot does not go on from here."""
    INSECURE = "insecure"
    """It goes on, and what it then vouches for is worth less than it seems."""
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the log tells. ``line`` is the first line that told it, quoted and bounded."""

    name: str
    weight: Weight
    meaning: str
    line: str
    at: float
    count: int = 1

    def __str__(self) -> str:
        return f"{self.name} ({self.weight.value}): {self.meaning}; {self.line!r}"


@dataclass(frozen=True, slots=True)
class _Sign:
    name: str
    weight: Weight
    meaning: str
    pattern: re.Pattern[str]


def _sign(name: str, weight: Weight, pattern: str, meaning: str) -> _Sign:
    return _Sign(name, weight, meaning, re.compile(pattern, re.ASCII))


SIGNS: tuple[_Sign, ...] = (
    # SPL of the ms-iot fork: the DICE identity falls back to one that every unfused board shares.
    _sign(
        "test-identity",
        Weight.INSECURE,
        r"Continuing with non-secret testing identity",
        "the device identity is the public one that all unfused boards share; never enrol it",
    ),
    _sign(
        "security-state",
        Weight.INSECURE,
        r"Security state failure",
        "the security monitor did not allow the device secret to be used",
    ),
    _sign(
        "ssm-not-secure",
        Weight.INSECURE,
        r"SSM not in secure/trusted state",
        "the security monitor is in neither trusted nor secure state: the boot was not verified",
    ),
    _sign(
        "hab-disabled",
        Weight.INSECURE,
        r"can't get CSF - HAB disabled",
        "the boot ROM verifies nothing: the image has no signature header, the fuses do not ask",
    ),
    # U-Boot cmd/esbc of NXP boards; the same message goes on in a non-secure boot.
    _sign(
        "esbc-not-halted",
        Weight.INSECURE,
        r"Boot Mode is Non-Secure\. Not entering spin loop",
        "a signature check failed or was left out, and the boot went on as it is not secure",
    ),
    _sign(
        "esbc-halt",
        Weight.STOPS,
        r"Core is entering spin loop",
        "U-Boot's esbc_halt stopped the boot: an image was not authentic or had no signature",
    ),
    # U-Boot board/freescale/common/fsl_validate.c.
    _sign(
        "esbc-validate",
        Weight.STOPS,
        r"ERROR :: [0-9a-fA-F]{1,8}(?: :: |$)",
        "U-Boot's esbc_validate refused an image",
    ),
    _sign("uboot-error", Weight.NOTICE, r"## Error[: ]", "a command of U-Boot's failed"),
    _sign(
        "default-environment",
        Weight.NOTICE,
        r"[Bb]ad CRC, using default environment",
        "U-Boot's saved environment is damaged or empty: boot command and serial are the defaults",
    ),
    # TF-A common/bl_common.c, drivers/auth; -80 is EAUTH of its own errno.h.
    _sign(
        "tfa-authentication",
        Weight.STOPS,
        r"ERROR: +BL\d\S*: Failed to load image(?: id)? \d+ \(-80\)"
        r"|ERROR: +.{0,60}(?:[Aa]uthenticat|[Ss]ignature verif)",
        "TF-A did not accept an image's signature",
    ),
    _sign(
        "tfa-load",
        Weight.STOPS,
        r"ERROR: +(?:BL\d\S*: Failed to load image|Failed to load BL2 firmware)",
        "TF-A could not load an image",
    ),
    _sign(
        "el3-panic",
        Weight.STOPS,
        r"PANIC in EL3|PANIC at PC : 0x|Unhandled Exception (?:in|from) EL3",
        "the EL3 firmware crashed",
    ),
    _sign(
        "optee-panic",
        Weight.STOPS,
        r"E/TC:[0-9? ]*(?:Panic\b|assertion )",
        "the OP-TEE core crashed",
    ),
    _sign(
        "optee-insecure-build",
        Weight.NOTICE,
        r"This OP-TEE configuration might be insecure",
        "OP-TEE says of itself that it was built for tests",
    ),
    _sign("kernel-panic", Weight.STOPS, r"Kernel panic - not syncing", "Linux crashed"),
)


def findings(lines: Iterable[ConsoleLine]) -> tuple[Finding, ...]:
    """The findings in ``lines``, each once, in the order in which they were told."""
    found: dict[str, Finding] = {}
    for line in lines:
        sign = next((sign for sign in SIGNS if sign.pattern.search(line.text)), None)
        if sign is None:
            continue
        before = found.get(sign.name)
        if before is None:
            found[sign.name] = Finding(
                sign.name, sign.weight, sign.meaning, quote(line.text), line.at
            )
        else:
            found[sign.name] = Finding(
                before.name, before.weight, before.meaning, before.line, before.at, before.count + 1
            )
    return tuple(found.values())


def quote(text: str) -> str:
    """``text`` as it may be shown: printable, without blanks around it, of bounded length."""
    shown = printable(text[: 4 * LONGEST_QUOTE]).strip()
    return shown if len(shown) <= LONGEST_QUOTE else shown[: LONGEST_QUOTE - 1] + "…"
