"""What a dying TrustBox prints, so that a wait can end at once and quote it.

A Trusted Application that panics is not the death of the box: OP-TEE prints ``TA panicked with
code`` or ``ldelf panicked`` and goes on, so the patterns below ask for the core's own words. A
rig with other firmware passes its own patterns to ``SerialConsole``.
"""

from __future__ import annotations

import re

DEFAULT_PANICS: tuple[re.Pattern[bytes], ...] = (
    # Linux kernel/panic.c; the dash keeps out help texts and parameters that only name it.
    re.compile(rb"Kernel panic - not syncing"),
    # OP-TEE core/kernel/panic.c and assert.c: prefix "E/TC:", core and thread number, the word.
    re.compile(rb"E/TC:[0-9? ]*(?:Panic\b|assertion )"),
    # TF-A bl31/aarch64/crash_reporting.S and common/aarch64/debug.S.
    re.compile(rb"PANIC in EL3|PANIC at PC : 0x|Unhandled Exception (?:in|from) EL3"),
    # TF-A bl1_main.c and bl2_image_load_v2.c: an image is missing or its signature is wrong.
    re.compile(rb"ERROR: +(?:BL2: Failed to load image|Failed to load BL2 firmware)"),
)
"""Searched line by line. The first hit is reported as the box's death."""
