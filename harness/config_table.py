"""One table of a targets file, read strictly: a key that nobody asked for is an error.

Every problem is a BadInput that names file, dotted key, value and the form that would be right; a
value that may be a secret is shown as ``(hidden)`` (harness.shown).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from harness.errors import BadInput
from harness.shown import HIDDEN, shown

_PLAIN = re.compile(r"(?:^|_)password$")
_LOGIN = re.compile(r"(?:^|//|[\s=])[^/@\s:]*:[^/@\s]*@\S")
_CREDENTIALS = re.compile(r"//[^/@\s]*:[^/@\s]*@")


class Table:
    """The keys of one table. Ask for each that there can be, then ``finish``."""

    def __init__(self, values: object, *, where: str, name: str) -> None:
        """``where`` is the file's name, ``name`` the table's dotted one. Raises BadInput."""
        if not isinstance(values, dict):
            expected = f"a table, as in [{name}]"
            raise BadInput(where=where, key=name, value=HIDDEN, expected=expected)
        self.where, self.name = where, name
        self._values = values
        self._asked: list[str] = []

    def __contains__(self, key: str) -> bool:
        self._ask(key)
        return key in self._values

    def text(self, key: str) -> str:
        """A text that is not empty; the key must be there."""
        self._ask(key)
        value = self._values.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.bad(key, "a text that is not empty")
        if _CREDENTIALS.search(value):
            raise self.bad(key, f"an address without a password in it; {_INSTEAD}")
        return value

    def text_or(self, key: str, default: str) -> str:
        return self.text(key) if key in self else default

    def choice(self, key: str, options: Sequence[str], default: str | None = None) -> str:
        """One of ``options``; without ``default`` the key must be there."""
        if key not in self and default is not None:
            return default
        value = self.text(key)
        if value not in options:
            near = _near(value, options)
            raise self.bad(key, f"one of {', '.join(options)}{near}", like=options)
        return value

    def whole_or(self, key: str, default: int, *, least: int, most: int) -> int:
        value = self._values[key] if key in self else default
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.bad(key, f"a whole number from {least} to {most}", number=True)
        return value

    def seconds_or(self, key: str, default: float, *, least: float = 0.0) -> float:
        value = self._values[key] if key in self else default
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not least <= value <= 3600:
            raise self.bad(key, f"seconds, a number from {least:g} to 3600", number=True)
        return float(value)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts, none of them empty, at least one; the key must be there."""
        self._ask(key)
        value = self._values.get(key)
        texts = isinstance(value, list) and all(isinstance(one, str) and one for one in value)
        if not texts or not value:
            raise self.bad(key, 'a list of texts, as in ["one", "two"]')
        if any(_LOGIN.search(one) for one in value):
            raise self.bad(key, f"words without a user's password in them; {_INSTEAD}")
        return tuple(value)

    def texts_or(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """As ``texts``, and the list may be empty."""
        if key not in self or self._values[key] == []:
            return () if key in self else default
        return self.texts(key)

    def holds_table(self, key: str) -> bool:
        """Whether that key's value is a table, for keys that can also be something shorter."""
        return key in self and isinstance(self._values[key], dict)

    def table_or_none(self, key: str) -> Table | None:
        """A table of its own below this one."""
        if key not in self:
            return None
        return Table(self._values[key], where=self.where, name=f"{self.name}.{key}")

    def path(self, key: str) -> Path:
        """A path on this machine: ``~`` is the home, a relative one begins at the file's place."""
        try:
            return Path(self.where).parent / Path(self.text(key)).expanduser()
        except RuntimeError:
            raise self.bad(key, "a path; nobody here has the home that it names") from None

    def finish(self) -> None:
        """Raises BadInput for the first key that nobody asked for."""
        for key in self._values:
            if key in self._asked:
                continue
            if _PLAIN.search(key) and key.replace("password", "password_file") in self._asked:
                raise self.bad(key, _INSTEAD)
            known = ", ".join(sorted(self._asked))
            raise self.bad(key, f"no such key{_near(key, self._asked)}; known: {known}")

    def bad(
        self, key: str, expected: str, *, like: Sequence[str] = (), number: bool = False
    ) -> BadInput:
        """The error for ``key``; ``like`` and ``number`` as in ``harness.shown``."""
        value = shown(
            key if key in self._asked else "", self._values.get(key), like=like, number=number
        )
        return BadInput(where=self.where, key=f"{self.name}.{key}", value=value, expected=expected)

    def _ask(self, key: str) -> None:
        if key not in self._asked:
            self._asked.append(key)


_INSTEAD = "secrets never stand in this file: name a password_file or a password_command"


def _near(value: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(value, known, n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
