"""The switch on a bench's supply: one thing that can do ``on``, ``off`` or ``cycle``."""

from __future__ import annotations

import logging
import time
from typing import Protocol

from harness.config_power import (
    Action,
    CommandPower,
    HttpPower,
    PduDaemonPower,
    PowerConfig,
)
from harness.deadline import Deadline
from harness.power_command import run_command
from harness.power_http import ask, ask_pdudaemon


class PowerSwitch(Protocol):
    """What a rig needs of a switch. Its yes says that it obeyed, not that the box did."""

    def can(self, action: Action) -> bool: ...
    def do(self, action: Action, *, by: Deadline) -> str:
        """Returns the switch's words, bounded and printable. Raises RigError, DeadlineExpired."""


class ConfiguredSwitch:
    """Implements ``PowerSwitch`` after a ``power`` table of a targets file."""

    def __init__(self, name: str, config: PowerConfig) -> None:
        self._config = config
        self._log = logging.getLogger(f"harness.power.{name}")

    def can(self, action: Action) -> bool:
        return action in self._config.actions

    def do(self, action: Action, *, by: Deadline) -> str:
        """See ``PowerSwitch.do``; each call is bounded by ``answer_seconds`` as well."""
        started, by = time.monotonic(), by.sooner(self._config.answer_seconds)
        match self._config.backend:
            case CommandPower(argv):
                said = run_command(argv[action], by=by)
            case HttpPower() as http:
                said = ask(http, action, by=by)
            case PduDaemonPower() as daemon:
                said = ask_pdudaemon(daemon, action, by=by)
        self._log.info("power %s (%.1f s): %s", action, time.monotonic() - started, said or "done")
        return said
