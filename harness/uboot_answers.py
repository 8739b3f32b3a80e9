"""What U-Boot's ``printenv`` and ``md`` print, parsed strictly. Pure.

The text is what came between two frames, with line ends as ``\\n``. Anything that does not fit
exactly is a ValueError: a byte lost on the line must never become a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MOST_VARIABLES = 2000

_SIZE = re.compile(r"\n\nEnvironment size: (\d{1,8})/\d{1,8} bytes\n\Z", re.ASCII)
_NAME = re.compile(r"[!-<>-~]{1,128}", re.ASCII)
_ESCAPED = re.compile(r"\\([\\\n])")
_VALUE = re.compile(r"((?:\\[\\\n]|[^\\\n])*)\n")
_ROW = re.compile(r"([0-9a-f]{8,16}): ((?:[0-9a-f]{8} ){1,4}) *(.{1,16})", re.ASCII)


def parse_environment(text: str) -> dict[str, str]:
    """All variables, from the output of ``printenv``.

    U-Boot (cmd/nvedit.c, lib/hashtable.c hexport_r) puts a backslash before each line end and
    backslash in a value, and tells the length of it all, which is checked. Values may have several
    lines. Raises ValueError.
    """
    size = _SIZE.search(text)
    if size is None:
        raise ValueError("the line with the environment's size is missing")
    body = text[: size.start() + 1]
    if len(body) + 1 != int(size[1]):
        raise ValueError(f"{len(body) + 1} bytes came, {size[1]} were announced")
    variables: dict[str, str] = {}
    for name, value in _variables(body):
        if not _NAME.fullmatch(name) or name in variables:
            raise ValueError(f"not a variable, or one that came before: {name[:60]!r}")
        variables[name] = value
        if len(variables) > MOST_VARIABLES:
            raise ValueError(f"more than {MOST_VARIABLES} variables")
    return variables


def _variables(body: str) -> Iterator[tuple[str, str]]:
    """Names as they stand, values without their backslashes: U-Boot puts none into names."""
    position = 0
    while position < len(body):
        equals = body.find("=", position)
        value = _VALUE.match(body, equals + 1) if equals >= 0 else None
        if value is None:
            raise ValueError(f"not a variable, or one without end: {body[position:][:60]!r}")
        yield body[position:equals], _ESCAPED.sub(r"\1", value[1])
        position = value.end()


def parse_words(text: str, address: int, count: int) -> tuple[int, ...]:
    """The 32-bit words that ``md.l address count`` printed, as this processor reads memory.

    Addresses must follow each other, and the characters that ``md`` prints beside the words must be
    those of the same bytes: that finds what a flipped bit changed. Raises ValueError.
    """
    words: list[int] = []
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    for line in text[:-1].split("\n"):
        row = _ROW.fullmatch(line)
        if row is None:
            raise ValueError(f"not a line of md: {line[:80]!r}")
        if int(row[1], 16) != address + 4 * len(words):
            raise ValueError(f"the line for 0x{address + 4 * len(words):x} is missing")
        here = [int(word, 16) for word in row[2].split()]
        shown = b"".join(word.to_bytes(4, "little") for word in here)
        if row[3] != "".join(chr(byte) if 32 <= byte < 127 else "." for byte in shown):
            raise ValueError(f"words and characters disagree: {line[:80]!r}")
        words += here
    if len(words) != count:
        raise ValueError(f"{len(words)} words came, {count} were asked for")
    return tuple(words)


def swapped(word: int) -> int:
    """The word as a big-endian register means it (or back)."""
    return int.from_bytes(word.to_bytes(4, "little"), "big")
