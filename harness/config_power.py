"""How a bench's power is switched: a command, HTTP requests, or a PDUDaemon.

One of these stands in a ``power`` table: ``command``, or ``on``, ``off`` and ``cycle``; ``http``;
``pdudaemon``. ``{action}`` in a command's word, an address or a body becomes ``on`` or ``off``.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.config_secret import SecretSource, read_source
from harness.config_table import Table

Action = Literal["on", "off", "cycle"]
ACTIONS: tuple[Action, ...] = ("on", "off", "cycle")
_PLACE = "{action}"


@dataclass(frozen=True, slots=True)
class CommandPower:
    """argv for each action; run on this machine, without a shell."""

    argv: Mapping[Action, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class HttpPower:
    """An address for each action, asked with ``method``; status 2xx is a yes."""

    urls: Mapping[Action, str]
    method: str = "GET"
    body: str | None = None
    user: str = ""
    password: SecretSource | None = None


@dataclass(frozen=True, slots=True)
class PduDaemonPower:
    """A PDUDaemon's HTTP listener and which outlet of it (its README, "Making a power control
    request"): ``hostname`` and ``port`` of the PDU, or an ``alias`` from its configuration."""

    url: str
    hostname: str = ""
    port: str = ""
    alias: str = ""


Backend = CommandPower | HttpPower | PduDaemonPower


@dataclass(frozen=True, slots=True)
class PowerConfig:
    """The backend, and the times around it in seconds."""

    backend: Backend
    settle_seconds: float = 2.0
    """How long the box stays off at least: capacitors keep memory alive for a while."""
    silence_seconds: float = 3.0
    """How long the console must be silent, and SSH gone, before off counts as off."""
    answer_seconds: float = 30.0
    """How long one command or request may take, and how late it may take effect."""
    actions: frozenset[Action] = field(default=frozenset({"on", "off"}))


def read_power(table: Table) -> PowerConfig:
    """Raises BadInput."""
    given = [name for name in _READ if name in table]
    by_action = [action for action in ACTIONS if action in table]
    if len(given) + bool(by_action) != 1:
        wanted = f"exactly one of {', '.join(_READ)}, or on and off as lists"
        raise table.bad(given[-1] if given else "command", wanted)
    backend = _READ[given[0]](table) if given else _commands(table, by_action)
    found = PowerConfig(
        backend,
        settle_seconds=table.seconds_or("settle_seconds", 2.0),
        silence_seconds=table.seconds_or("silence_seconds", 3.0, least=0.1),
        answer_seconds=table.seconds_or("answer_seconds", 30.0, least=0.1),
        actions=_actions(backend),
    )
    table.finish()
    return found


def _actions(backend: Backend) -> frozenset[Action]:
    if isinstance(backend, CommandPower):
        return frozenset(backend.argv)
    return frozenset(backend.urls if isinstance(backend, HttpPower) else ACTIONS[:2])


def _command(table: Table) -> CommandPower:
    """``command = ["relay", "{action}", "7"]``"""
    words = table.texts("command")
    if not any(_PLACE in word for word in words):
        raise table.bad("command", f"a list of which one word holds {_PLACE}")
    return CommandPower({a: tuple(w.replace(_PLACE, a) for w in words) for a in ACTIONS[:2]})


def _commands(table: Table, given: list[Action]) -> CommandPower:
    """``on = ["relay", "1"]``, ``off = ["relay", "0"]``"""
    _complete(table, given[0], given)
    return CommandPower({action: table.texts(action) for action in given})


def _http(table: Table) -> HttpPower:
    """``http = "http://pdu/7/{action}"``, or a table with an address for each action."""
    by_action = table.table_or_none("http") if table.holds_table("http") else None
    if by_action is None:
        url = _url(table, "http")
        if _PLACE not in url and _PLACE not in table.text_or("body", ""):
            raise table.bad("http", f"an address with {_PLACE} in it, or in the body")
        urls = {action: url.replace(_PLACE, action) for action in ACTIONS[:2]}
    else:
        urls = {action: _url(by_action, action) for action in ACTIONS if action in by_action}
        by_action.finish()
        _complete(table, "http", urls)
    user, password = table.text_or("user", ""), read_source(table)
    if bool(user) != (password is not None):
        raise table.bad("user", "a user and a password_file or password_command, or neither")
    return HttpPower(
        urls,
        method=table.choice("method", ("GET", "POST", "PUT"), "GET"),
        body=table.text("body") if "body" in table else None,
        user=user,
        password=password,
    )


def _pdudaemon(table: Table) -> PduDaemonPower:
    daemon = table.table_or_none("pdudaemon")
    if daemon is None:
        raise table.bad("pdudaemon", "a table")
    found = PduDaemonPower(
        url=_url(daemon, "url").rstrip("/"),
        hostname=daemon.text_or("hostname", ""),
        port=str(daemon.whole_or("port", 0, least=1, most=999)) if "port" in daemon else "",
        alias=daemon.text_or("alias", ""),
    )
    if bool(found.alias) == bool(found.hostname and found.port):
        raise daemon.bad("alias", "either an alias or hostname and port of the PDU")
    daemon.finish()
    return found


_READ: dict[str, Callable[[Table], Backend]] = {
    "command": _command,
    "http": _http,
    "pdudaemon": _pdudaemon,
}


def _complete(table: Table, key: str, given: Collection[Action]) -> None:
    if not given or ("on" in given) != ("off" in given):
        raise table.bad(key, "on and off together, cycle, or all three")


def _url(table: Table, key: str) -> str:
    url = table.text(key)
    try:
        parts = urllib.parse.urlsplit(url)
        right = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        right = False
    if not right:
        raise table.bad(key, "an address that begins with http:// or https://, and a host")
    return url
