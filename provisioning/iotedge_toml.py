"""The little TOML that IoT Edge's configuration needs, written. (tomllib only reads.)"""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import Misuse

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def table(name: str, values: Mapping[str, object]) -> list[str]:
    """Lines of one table, an empty one before it; nothing for an empty table without name."""
    if not name and not values:
        return []
    head = ["", f"[{name}]"] if name else []
    return [*head, *(f"{key} = {_value(value)}" for key, value in values.items())]


def tables(found: Mapping[str, Mapping[str, object]]) -> list[str]:
    return [line for name, values in found.items() for line in table(name, values)]


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{"".join(_character(c) for c in value)}"'
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    raise Misuse(f"cannot be written to the configuration: {type(value).__name__}")


def _character(c: str) -> str:
    if c in _ESCAPES:
        return _ESCAPES[c]
    if 0xD800 <= ord(c) <= 0xDFFF:
        raise Misuse("the configuration takes whole characters only")
    return f"\\u{ord(c):04X}" if ord(c) < 0x20 or ord(c) == 0x7F else c
