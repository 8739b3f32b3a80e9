"""What a box's keys are called in its token: CKA_ID and CKA_LABEL. Pure."""

from __future__ import annotations

import hashlib
import re

from harness.errors import BadInput

PURPOSE = re.compile(r"[a-z0-9-]{1,32}")


def checked_purpose(text: str) -> str:
    """A purpose as somebody typed it. Raises BadInput for what no key of ours is called.

    A label is no purpose: ``device-id.2`` would be a key of its own.
    """
    if not PURPOSE.fullmatch(text):
        expected = "a purpose: 1 to 32 of a-z, 0-9 and -"
        raise BadInput(where="the command line", key="PURPOSE", value=text, expected=expected)
    return text


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
