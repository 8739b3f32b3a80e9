"""Named presets: what boxes of one kind have in common, so that an entry need not say it.

A preset's keys stand below those of the entry that names it, key by key, also within its tables.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

SHIPPED = "presets.toml"


@dataclass(frozen=True, slots=True)
class Preset:
    """``values`` are keys of a bench's table; ``public_logins`` name and password of accounts that
    the maker delivers, known to everybody and therefore no secrets."""

    name: str
    about: str = ""
    values: Mapping[str, object] = field(default_factory=dict)
    public_logins: Mapping[str, str] = field(default_factory=dict)


def load_presets() -> dict[str, Preset]:
    """The presets that ship with the project, by name."""
    text = (resources.files("harness") / SHIPPED).read_text(encoding="utf-8")
    return {name: _preset(name, values) for name, values in tomllib.loads(text).items()}


def under(preset: Mapping[str, object], entry: Mapping[str, object]) -> dict[str, object]:
    """``entry`` on top of ``preset``."""
    merged = {**preset, **entry}
    for key, below in preset.items():
        above = entry.get(key)
        if isinstance(below, dict) and isinstance(above, dict):
            merged[key] = under(below, above)
    return merged


def _preset(name: str, values: dict[str, object]) -> Preset:
    rest = dict(values)
    about, logins = rest.pop("about", ""), rest.pop("public_logins", {})
    return Preset(name, str(about), rest, logins if isinstance(logins, dict) else {})
