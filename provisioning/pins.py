"""Where a token's PINs come from: this station's own store, or a file of the operator's.

They live in files with mode 0600, one per box and TEE, and leave them only as ``Secret``.
"""

from __future__ import annotations

import json
import secrets
import tomllib
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInput
from harness.secret import Secret
from provisioning.private_files import private_directory, read_private, write_durably

_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Pins:
    """Both PINs of one token."""

    so: Secret
    user: Secret

    @classmethod
    def read(cls, path: Path) -> Pins:
        """From a TOML file of two strings, ``so_pin`` and ``user_pin``; mode 0600.

        Raises BadInput; it never quotes a PIN.
        """
        return cls.parse(read_private(path), where=str(path))

    @classmethod
    def parse(cls, text: bytes, *, where: str) -> Pins:
        """See ``read``; ``where`` names the text in errors."""
        try:
            found = tomllib.loads(text.decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            raise BadInput(where=where, key="the file", value="(hidden)", expected="TOML") from None
        for name in found:
            if name not in ("so_pin", "user_pin"):
                raise BadInput(
                    where=where, key=name, value="(hidden)", expected="so_pin or user_pin"
                )
        values = {}
        for name in ("so_pin", "user_pin"):
            value = found.get(name)
            if not isinstance(value, str) or not 4 <= len(value.encode()) <= 128:
                shown = "(hidden)" if name in found else None
                raise BadInput(
                    where=where, key=name, value=shown, expected="a string of 4 to 128 octets"
                )
            values[name] = Secret(value.encode())
        return cls(so=values["so_pin"], user=values["user_pin"])

    @classmethod
    def make(cls, path: Path) -> Pins:
        """New random PINs, durable in the file before anybody uses them."""
        made = cls.random()
        made.save(path)
        return made

    @classmethod
    def random(cls) -> Pins:
        """Two PINs of 16 digits."""
        so, user = (
            Secret("".join(secrets.choice("0123456789") for _ in range(_DIGITS)).encode())
            for _ in range(2)
        )
        return cls(so=so, user=user)

    def save(self, path: Path) -> None:
        """Replace the file (mode 0600) durably; what ``read`` reads."""
        private_directory(path.parent)
        lines = (
            f"{name} = {json.dumps(pin.reveal().decode())}\n"  # a JSON string is a TOML string
            for name, pin in (("so_pin", self.so), ("user_pin", self.user))
        )
        write_durably(path, "".join(lines).encode())
