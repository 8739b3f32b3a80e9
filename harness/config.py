"""targets.toml: which boxes there are. Parsed strictly, so that a typing error is never a default.

Unknown keys, missing keys and wrong types are BadInput, naming file, table and key.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

import platformdirs

from harness.config_bench import BenchConfig, read_bench
from harness.config_emulator import EmulatorConfig, read_emulator
from harness.config_table import Table
from harness.errors import BadInput, Misuse

SHIPPED = "harness/targets.toml"
KINDS = ("emulator", "bench")

TargetConfig = EmulatorConfig | BenchConfig


def user_file() -> Path:
    """Where a user's own targets are looked for; it need not exist."""
    return platformdirs.user_config_path("trustbox") / "targets.toml"


def load_targets(config: Path | None = None) -> dict[str, TargetConfig]:
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


def choose(name: str, config: Path | None = None) -> TargetConfig:
    """The target called ``name``. Raises Misuse, listing the names there are."""
    targets = load_targets(config)
    if name not in targets:
        raise Misuse(
            f"there is no target called {name!r}; there are {', '.join(sorted(targets))}",
            hint=f"Targets of your own are read from {config or user_file()}.",
        )
    return targets[name]


def choose_bench(name: str, config: Path | None = None) -> BenchConfig:
    """The bench called ``name``. Raises Misuse when there is none, or it is no bench."""
    chosen = choose(name, config)
    if not isinstance(chosen, BenchConfig):
        raise Misuse(f"{name} is no bench, but one of kind emulator")
    return chosen


def parse(text: str, where: str) -> dict[str, TargetConfig]:
    """The targets in one file's text; ``where`` names the file in errors."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise BadInput(
            where=where, key="the file", value=str(problem), expected="valid TOML"
        ) from problem
    return {name: _target(name, values, where) for name, values in tables.items()}


def _target(name: str, values: object, where: str) -> TargetConfig:
    table = Table(values, where=where, name=name)
    if table.choice("kind", KINDS) == "bench":
        assert isinstance(values, dict)  # noqa: S101 - Table saw to it
        return read_bench(values, where=where, name=name)
    return read_emulator(table)
