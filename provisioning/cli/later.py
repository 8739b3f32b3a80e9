"""Commands that are imported when they are used, so that each one starts without all others."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

Found = typer.Typer | Callable[..., Any]


class Later(TyperCommand):
    """Stands in a list of commands for ``where`` (``module:attribute``, a function or a Typer).

    ``brief`` is what a list of commands says of it: the first words of the command's own help, as
    ``tests/unit/test_cli.py`` sees to.
    """

    def __init__(self, name: str, where: str, brief: str) -> None:
        super().__init__(name=name, callback=None, short_help=brief, rich_markup_mode=None)
        self._command, self._where = name, where

    def real(self) -> TyperCommand | TyperGroup:
        """The command itself; imports it. Raises what importing raises."""
        module, _, attribute = self._where.partition(":")
        return made(self._command, getattr(import_module(module), attribute))

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Of the real command: it parses, shows its help and runs from here on."""
        return self.real().make_context(*args, **kwargs)


def made(name: str, found: Found) -> TyperCommand | TyperGroup:
    """A function or a Typer as the command ``name`` of a group."""
    around = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    around.callback()(_nothing)  # a Typer with one command and no callback would be that command
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name)(found)
    command = get_group(around).commands[name]
    if not isinstance(command, TyperCommand | TyperGroup):
        raise TypeError(f"{name} is a {type(command).__name__}")
    return command


def _nothing() -> None:
    """What the group around a single command does by itself."""
