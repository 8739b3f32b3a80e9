"""targets.toml: which boxes there are. Parsed strictly, so that a typing error is never a default.

Unknown keys, missing keys and wrong types are BadInput, naming file, table and key.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import platformdirs

from harness.errors import BadInput, Misuse

SHIPPED = "harness/targets.toml"
KINDS = ("emulator",)
PROFILES = ("current",)


@dataclass(frozen=True, slots=True)
class EmulatorConfig:
    """One table of kind ``emulator``."""

    name: str
    serial: str
    profile: str = "current"


def user_file() -> Path:
    """Where a user's own targets are looked for; it need not exist."""
    return platformdirs.user_config_path("trustbox") / "targets.toml"


def load_targets(config: Path | None = None) -> dict[str, EmulatorConfig]:
    """All targets by name: the shipped ones, then the user's, or those of ``config`` instead.

    Raises BadInput. A ``config`` that is named must exist.
    """
    shipped = (resources.files("harness") / "targets.toml").read_text(encoding="utf-8")
    targets = parse(shipped, SHIPPED)
    own = config or user_file()
    if config is not None or own.is_file():
        try:
            text = own.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise Misuse(f"the targets file {own} cannot be read: {problem}") from problem
        targets |= parse(text, str(own))
    return targets


def choose(name: str, config: Path | None = None) -> EmulatorConfig:
    """The target called ``name``. Raises Misuse, listing the names there are."""
    targets = load_targets(config)
    if name not in targets:
        raise Misuse(
            f"there is no target called {name!r}; there are {', '.join(sorted(targets))}",
            hint=f"Targets of your own are read from {config or user_file()}.",
        )
    return targets[name]


def parse(text: str, where: str) -> dict[str, EmulatorConfig]:
    """The targets in one file's text; ``where`` names the file in errors."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise BadInput(
            where=where, key="the file", value=str(problem), expected="valid TOML"
        ) from problem
    return {name: _target(name, table, where) for name, table in tables.items()}


def _target(name: str, table: object, where: str) -> EmulatorConfig:
    if not isinstance(table, dict):
        raise BadInput(where=where, key=name, value=table, expected=f"a table, as in [{name}]")
    kind = _text(table, "kind", name, where)
    if kind not in KINDS:
        raise _bad(where, name, "kind", kind, f"one of {', '.join(KINDS)}")
    known = ("kind", "serial", "profile")
    for key in table:
        if key not in known:
            raise _bad(where, name, key, table[key], f"no such key; known: {', '.join(known)}")
    profile = _text(table, "profile", name, where) if "profile" in table else PROFILES[0]
    if profile not in PROFILES:
        raise _bad(where, name, "profile", profile, f"one of {', '.join(PROFILES)}")
    return EmulatorConfig(name, _text(table, "serial", name, where), profile)


def _text(table: Mapping[str, object], key: str, name: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise _bad(where, name, key, value, "a text that is not empty")
    return value


def _bad(where: str, table: str, key: str, value: object, expected: str) -> BadInput:
    return BadInput(where=where, key=f"{table}.{key}", value=value, expected=expected)
