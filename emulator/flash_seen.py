"""The boot state of an emulated box: is its flash the one that was built, its BL1 too?"""

from __future__ import annotations

import json
from typing import Any

from emulator.box_store import HUK_BYTES, HUK_OFFSET, Box
from harness.boot_seen import BootSeen

_SOURCE = "flash file, held against the image"


def flash_seen(box: Box) -> BootSeen:
    """Compares every byte but the hardware unique key. BL1, which checks all later stages, has
    nobody above it: here it is what was built, as far as the file goes that QEMU started from."""
    try:
        built, found = box.image.flash.read_bytes(), box.flash.read_bytes()
        signed = _trusted_board_boot(json.loads(box.image.manifest.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as problem:
        return BootSeen(_SOURCE, None, f"cannot be read: {problem}")
    end = HUK_OFFSET + HUK_BYTES
    if found[:HUK_OFFSET] + found[end:] != built[:HUK_OFFSET] + built[end:]:
        return BootSeen(_SOURCE, False, "the flash is not the one that was built")
    if not signed:
        return BootSeen(_SOURCE, False, "the firmware was built without trusted board boot")
    return BootSeen(_SOURCE, True, "the flash as built, with trusted board boot")


def _trusted_board_boot(manifest: dict[str, Any]) -> bool:
    flags = {one["name"]: one["value"] for one in manifest["metadata"]["properties"]}
    return flags.get("trustbox:flag:arm-trusted-firmware:TRUSTED_BOARD_BOOT") == "1"
