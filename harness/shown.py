"""What of a setting's value may stand in an error, which ends in logs of CI and on screens.

Hidden unless something says that it is harmless: the place takes a number and it is one, it is
nearly one of the words that would be right, or its key is known to hold what everybody may see.
A key that nobody knows is never shown: people write ``user_pin`` where a file's name belongs.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

HIDDEN: Final = "(hidden)"
HARMLESS: Final = frozenset(
    {
        # of targets
        *("kind", "preset", "address", "serial", "serial_url", "secure_serial_url", "console_tty"),
        *("serial_paths", "promises", "evidence", "method", "url", "hostname", "alias", "port"),
        *("storage_root", "ta_directory", "tee_device", "agent_directory", "golden_tee"),
        # of plans
        *(
            "label",
            "purpose",
            "profile",
            "uuid",
            "golden",
            "token_ta",
            "unfused",
            "unknown",
            "identity",
        ),
        *("id_scope", "server", "service", "proof"),
        # of policies and of a CA's settings
        *("require", "tolerate", "ports", "tee_groups", "format", "hardware_type", "crl_url"),
        "device_keys",
    }
)
"""Keys, without their tables, whose values are names, addresses and kinds."""
_OPENS = re.compile(r"[@?]|pin-value|PRIVATE KEY|\bpass|\bsecret", re.IGNORECASE)
_LOGIN = re.compile(r"//[^/@\s]*:[^/@\s]*@")
_PIN_VALUE = re.compile(r"(pin-value\s*=\s*)[^\s;&?'\"]+", re.IGNORECASE)


class Said(str):
    """A text of this program's own, such as "given": it may stand in an error."""

    __slots__ = ()


GIVEN: Final = Said("given")


def shown(
    key: str, value: object, *, like: Sequence[str] = (), number: bool = False
) -> object:  # fmt: skip
    """``value``, or ``(hidden)``.

    ``key`` is the last part of a dotted one; ``like`` are the words that would be right, where
    there is a choice of them, and ``number`` says that the place takes a number.
    """
    if value is None or isinstance(value, bool | Said):
        return value
    if isinstance(value, int | float) and (number or key in HARMLESS):
        return value
    if isinstance(value, str) and difflib.get_close_matches(value, like, n=1):
        return value
    texts = value if isinstance(value, list) else [value]
    if key in HARMLESS and all(isinstance(one, str) and not _OPENS.search(one) for one in texts):
        return value
    return HIDDEN


def secret_like(path: Path) -> str:
    """A file's name; hidden where it is digits alone: somebody may have typed the PIN itself."""
    return f"a file whose name is digits alone {HIDDEN}" if path.name.isdecimal() else str(path)


def masked(text: str) -> str:
    """``text`` without the password of an address and the PIN of a ``pkcs11:`` URI in it."""
    return _PIN_VALUE.sub(rf"\g<1>{HIDDEN}", _LOGIN.sub(f"//{HIDDEN}@", text))


def printable(text: str) -> str:
    """``text`` with control characters spelt out: a box must not drive a person's terminal."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text.replace("\r", "")
    )


def printable_lines(text: str) -> str:
    """As ``printable``, but its lines stay lines: for messages that may quote a box."""
    return "\n".join(map(printable, text.split("\n")))
