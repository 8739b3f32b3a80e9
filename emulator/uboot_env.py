"""U-Boot's environment as it lies in flash, so that a box boots without a countdown.

A U-Boot without redundant environments keeps the CRC32 (little endian) of what follows, then
``name=value`` strings that each end in a zero byte, then another zero byte, padded to the size of
the environment (U-Boot env/common.c, ``env_import``).
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

from harness.errors import Misuse

SIZE = 0x40000
"""CONFIG_ENV_SIZE of U-Boot's qemu_arm64 configuration."""
FLASH_SIZE = 64 * 1024 * 1024
"""QEMU's virt machine takes a flash image of exactly this size or refuses to start."""

_NAME = re.compile(r"[!-<>-~]{1,64}", re.ASCII)


def environment(variables: Mapping[str, str]) -> bytes:
    """The environment's bytes, exactly ``SIZE`` of them.

    Raises Misuse when a name or value cannot be expressed, or all of them do not fit.
    """
    text = bytearray()
    for name, value in sorted(variables.items()):
        if not _NAME.fullmatch(name):
            raise Misuse(f"{name!r} cannot be the name of a U-Boot variable")
        if not value or not value.isascii() or any(c < " " for c in value):
            raise Misuse(f"U-Boot variable {name} needs a value of printable ASCII")
        text += f"{name}={value}".encode("ascii") + b"\0"
    text += b"\0"
    room = SIZE - 4
    if len(text) > room:
        raise Misuse(f"the U-Boot environment takes {len(text)} bytes, {room} fit")
    body = bytes(text).ljust(room, b"\0")
    return zlib.crc32(body).to_bytes(4, "little") + body


def write_flash(path: Path, variables: Mapping[str, str]) -> None:
    """Write the second flash chip: the environment at its start, the rest a hole (0600)."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as flash:
        flash.write(environment(variables))
        flash.truncate(FLASH_SIZE)
