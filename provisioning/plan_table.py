"""One table of a plan, read strictly: every complaint names file, table and key."""

from __future__ import annotations

import re
from pathlib import Path

from harness.errors import BadInput
from harness.shown import HIDDEN, Said, shown


class Table:
    """``name`` is dotted for a table in a table. A key that is not in ``keys`` is an error."""

    def __init__(self, where: str, name: str, found: object, keys: tuple[str, ...]) -> None:
        self._where, self._name = where, name
        if not isinstance(found, dict):
            expected = f"a table [{name}]"
            raise BadInput(where=where, key=name, value=HIDDEN, expected=expected)
        self._found = found
        for key in found:
            if key not in keys:
                raise self.wrong(key, Said(HIDDEN), "no such key; known are " + ", ".join(keys))

    def text(self, key: str, form: str, expected: str) -> str:
        value = self._found.get(key)
        # Blanks around a value are never meant, and tokens pad their labels with them.
        if not isinstance(value, str) or not re.fullmatch(form, value) or value != value.strip():
            raise self.wrong(key, value, expected)
        return value

    def optional(self, key: str, form: str, expected: str) -> str | None:
        return self.text(key, form, expected) if key in self._found else None

    def number(self, key: str, least: int, most: int) -> int:
        value = self._found.get(key)
        if type(value) is not int or not least <= value <= most:
            raise self.wrong(key, value, f"a whole number from {least} to {most}", number=True)
        return value

    def days(self, key: str) -> int | None:
        return None if self._found.get(key) == "unlimited" else self.number(key, 1, 36500)

    def seconds(self, key: str, usual: float) -> float:
        return float(self.number(key, 0, 3600)) if key in self._found else usual

    def file(self, key: str, beside: Path) -> Path | None:
        """A path, relative to the plan's directory; None where it is not given."""
        text = self.optional(key, r".+", "the path of a file")
        try:
            return None if text is None else beside / Path(text).expanduser()
        except RuntimeError:
            expected = "the path of a file; nobody on this machine has the home that it names"
            raise self.wrong(key, text, expected) from None

    def login(self, beside: Path) -> tuple[str | None, Path | None]:
        """``user`` and ``password_file``: both, or neither."""
        user = self.optional("user", r"[^:\x00-\x1f]+", "a name without a colon")
        password = self.file("password_file", beside)
        if (user is None) != (password is None):
            raise self.wrong("password_file", None, "to be given together with user")
        return user, password

    def flag(self, key: str, usual: bool) -> bool:
        value = self._found.get(key, usual)
        if not isinstance(value, bool):
            raise self.wrong(key, value, "true or false")
        return value

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def wrong(
        self, key: str, value: object, expected: str, *, number: bool = False
    ) -> BadInput:  # fmt: skip
        """``value`` is shown where ``harness.shown`` lets it; a ``Said`` always."""
        value = shown(key, value, number=number)
        return BadInput(
            where=self._where, key=f"{self._name}.{key}", value=value, expected=expected
        )
