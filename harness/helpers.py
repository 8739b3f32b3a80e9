"""The helpers that run on a box, kept for the next one who needs one.

Starting one costs a channel and two processes on the box; commands and TEE clients take turns with
those that are idle. ``held`` gives one to one user at a time.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

from harness.agent_client import AgentConnection, bootstrap
from harness.deadline import Deadline
from harness.errors import (
    BadFrame,
    DeviceRefused,
    LinkLost,
    Misuse,
    RigError,
    TrustBoxError,
)
from harness.ssh import SshShell
from harness.target import Layout
from harness.vitals import Vitals

MOST_IDLE = 4
"""Each takes a session of the box's SSH server, and OpenSSH gives 10."""


class NoHelper(Exception):
    """The box is reached, and its helper does not start: ``problem`` says why."""

    def __init__(self, problem: TrustBoxError) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Helpers:
    """Helpers over one SSH connection. Thread-safe. Starts none before one is needed."""

    def __init__(self, ssh: SshShell, layout: Layout, vitals: Vitals) -> None:
        self._ssh, self._layout, self._vitals = ssh, layout, vitals
        self._lock = threading.Lock()
        self._idle: list[tuple[int, AgentConnection]] = []
        self._log = logging.getLogger(f"harness.agent.{vitals.target}")

    @contextlib.contextmanager
    def held(self, *, by: Deadline, layout: Layout | None = None) -> Iterator[AgentConnection]:
        """One helper, idle or new; always new for a ``layout`` that is not this box's own.

        It is kept for the next user if all went well and nobody closed it. Raises DeviceRefused
        when the box cannot run it, Misuse and RigError when it cannot be built here, BadFrame,
        LinkError, BoxDied.
        """
        with contextlib.ExitStack() as lent:
            try:
                agent = lent.enter_context(self.lent(by=by, layout=layout))
            except NoHelper as none:
                raise none.problem from none.problem.__cause__
            yield agent

    @contextlib.contextmanager
    def lent(self, *, by: Deadline, layout: Layout | None = None) -> Iterator[AgentConnection]:
        """As ``held``, with NoHelper in place of what the helper itself is to blame for."""
        life = self._vitals.life
        usual = layout is None or layout == self._layout
        agent = (self._take(life) if usual else None) or self._started(layout or self._layout, by)
        try:
            yield agent
        except BaseException:
            agent.close()
            raise
        if usual:
            self._give_back(life, agent)
        else:
            agent.close()

    def close(self) -> None:
        """End the idle ones. The next user would get a new one."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, agent in idle:
            agent.close()

    def _take(self, life: int) -> AgentConnection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                born, agent = self._idle.pop()
            if born == life and self._ssh.connected and not agent.stale:
                return agent
            agent.close()

    def _give_back(self, life: int, agent: AgentConnection) -> None:
        with self._lock:
            if not agent.closed and len(self._idle) < MOST_IDLE:
                self._idle.append((life, agent))
                return
        agent.close()

    def _started(self, layout: Layout, by: Deadline) -> AgentConnection:
        began = time.monotonic()
        agent = bootstrap(self._ssh, layout, by=by)
        try:
            agent.start(by=by)
        except BaseException as problem:
            agent.close()
            if isinstance(problem, (DeviceRefused, Misuse, RigError, BadFrame)):
                self._vitals.check()
                if not self._ssh.connected:  # then nobody knows whether it would have run
                    raise LinkLost(
                        f"the connection broke while the helper started: {problem}"
                    ) from problem
                raise NoHelper(problem) from problem
            raise
        self._log.debug("the helper answers after %.3f s", time.monotonic() - began)
        return agent
