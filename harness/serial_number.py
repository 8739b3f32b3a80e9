"""What a box's serial number may be: one rule, asked wherever one comes in."""

from __future__ import annotations

import re

from harness.errors import BadInput

FORM = "1 to 64 letters, digits and dashes, no dash first or last"
"""A registration id of enrollment services is made of it, in lower case (DPS: REST, Register)."""
_FORM = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?", re.ASCII)


def is_serial(text: str) -> bool:
    return _FORM.fullmatch(text) is not None


def checked_serial(text: str, *, where: str = "--serial", key: str = "the serial number") -> str:
    """``text`` itself. Raises BadInput, naming where it came from."""
    if not is_serial(text):
        expected = FORM if text else f"{FORM}; is a variable of the shell not set?"
        raise BadInput(where=where, key=key, value=text, expected=expected)
    return text
