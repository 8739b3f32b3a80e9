"""Where a token's PINs come from: this station's own store, or a file of the operator's.

They live in files with mode 0600, one per box and TEE, and leave them only as ``Secret``.
"""

from __future__ import annotations

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
        try:
            found = tomllib.loads(read_private(path).decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            raise BadInput(
                where=str(path), key="the file", value="(hidden)", expected="TOML"
            ) from None
        for name in found:
            if name not in ("so_pin", "user_pin"):
                raise BadInput(
                    where=str(path), key=name, value="(hidden)", expected="so_pin or user_pin"
                )
        values = {}
        for name in ("so_pin", "user_pin"):
            value = found.get(name)
            if not isinstance(value, str) or not 4 <= len(value.encode()) <= 128:
                shown = "(hidden)" if name in found else None
                raise BadInput(
                    where=str(path), key=name, value=shown, expected="a string of 4 to 128 octets"
                )
            values[name] = Secret(value.encode())
        return cls(so=values["so_pin"], user=values["user_pin"])

    @classmethod
    def make(cls, path: Path) -> Pins:
        """New random PINs, durable in the file before anybody uses them."""
        made = {
            name: "".join(secrets.choice("0123456789") for _ in range(_DIGITS))
            for name in ("so_pin", "user_pin")
        }
        private_directory(path.parent)
        text = "".join(f'{name} = "{value}"\n' for name, value in made.items())
        write_durably(path, text.encode())
        return cls(so=Secret(made["so_pin"].encode()), user=Secret(made["user_pin"].encode()))
