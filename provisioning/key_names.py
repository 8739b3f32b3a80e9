"""What a box's keys are called in its token: CKA_ID and CKA_LABEL. Pure."""

from __future__ import annotations

import hashlib


def key_id(serial: str, purpose: str, generation: int = 1) -> bytes:
    """The CKA_ID of a box's key: the same for the same box, purpose and generation, for ever."""
    return hashlib.sha256(f"{serial}|{purpose}|{generation}".encode()).digest()[:20]


def key_label(purpose: str, generation: int = 1) -> str:
    """The CKA_LABEL of a box's key: its purpose, and from the second generation on its number.

    IoT Edge finds keys by label only and takes the first one: while two generations are in the
    token, each has a label of its own. A purpose has no dot.
    """
    return purpose if generation == 1 else f"{purpose}.{generation}"


def purpose_of(label: str) -> str:
    """What ``key_label`` made the label of."""
    purpose, _, number = label.rpartition(".")
    return purpose if number.isdecimal() else label
