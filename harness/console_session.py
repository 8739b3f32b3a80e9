"""From a console in an unknown state to a helper that answers: taken over, or started anew."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from harness.agent_client import AgentConnection
from harness.config_secret import asked
from harness.console import SerialConsole
from harness.console_dialogue import Dialogue
from harness.console_install import (
    ask_facts,
    become_root,
    check_place,
    install,
    start_script,
)
from harness.console_login import SIGNS, ConsoleLogin, LoggingIn
from harness.console_tap import ConsoleTap
from harness.deadline import Deadline
from harness.errors import (
    BadFrame,
    DeadlineExpired,
    DeviceRefused,
    LinkError,
    LinkLost,
    Unreachable,
)
from harness.secret import Secret
from harness.target import Layout
from harness.uart_keep import KeptLink
from harness.uart_link import SILENCE_SECONDS
from harness.vitals import Vitals

RESET_SECONDS = 0.4
RESETS = 3
START_SECONDS = (1.0, 1.5, 2.0, 3.0, 3.0)
STARTS = 10
"""A shell that is not ours resends nothing: over a line that loses bytes it is begun anew."""
MUTE_STARTS = 6
"""A helper that was started so often and never spoke cannot run on this box."""
LISTEN_SECONDS = 1.2
"""U-Boot's countdown says a number each second; who has heard nothing yet listens so long."""


@dataclass(frozen=True, slots=True)
class Session:
    """A helper that answers over a console."""

    link: KeptLink
    agent: AgentConnection


class Sessions:
    """Makes sessions, one after another, on one console."""

    def __init__(
        self,
        console: SerialConsole,
        login: ConsoleLogin,
        layout: Layout,
        vitals: Vitals,
        *,
        silence: float = SILENCE_SECONDS,
    ) -> None:
        self._console, self._login, self._layout = console, login, layout
        self._vitals, self._silence = vitals, silence
        self.tap = ConsoleTap()
        self.let_in_by: Callable[[], Secret] | None = None
        self._tapped = False
        self._log_out = False
        self._log = logging.getLogger(f"harness.console.{vitals.target}")

    def open(self, *, by: Deadline) -> Session:
        """Raises Unreachable, LinkLost, DeviceRefused, Misuse, RigError, BoxDied."""
        started = time.monotonic()
        self._vitals.check()
        if not self._console.attached:
            raise LinkLost("the box's console is not attached, or its line has ended")
        self._listen(by)
        session = self._take_over(by) or self._start(by)
        session.link.keep()
        seconds = time.monotonic() - started
        self._log.debug("the helper answers over the console after %.3f s", seconds)
        return session

    def close(self) -> None:
        """The console is as it was before: nothing is taken out of it any more."""
        self.tap.connect(None)
        if self._tapped:
            self._console.tap(None)
            self._tapped = False

    def _listen(self, by: Deadline) -> None:
        if not self._tapped:
            self.tap.text.append(self._console.recent(4096))
            self._console.tap(self.tap)
            self._tapped = True
        dialogue = self._dialogue()
        if not dialogue.said_something:
            dialogue.quiet(LISTEN_SECONDS, by=by)

    def _dialogue(self) -> Dialogue:
        return Dialogue(self._console.send, self.tap.text, self._vitals)

    @contextmanager
    def _connected(self) -> Iterator[tuple[Session, ExitStack]]:
        """A session, dropped afterwards whatever happened unless its stack was emptied."""
        session = self._connect()
        with ExitStack() as kept:
            kept.callback(self._drop, session)
            yield session, kept

    def _connect(self) -> Session:
        link = KeptLink(
            secrets.randbits(32),
            self._console.send,
            self._vitals,
            self.tap.text.last_line,
            silence=self._silence,
        )
        self.tap.connect(link)
        return Session(link, AgentConnection(link))

    def _drop(self, session: Session) -> None:
        session.link.close()
        self.tap.connect(None)

    def _take_over(self, by: Deadline) -> Session | None:
        """A helper that another host left, or that we gave up: it begins anew."""
        if self._dialogue().look(SIGNS, patience=0.0, by=by) is not None:
            return None  # a prompt, or a box that boots: nobody there who knows frames
        with self._connected() as (session, kept):
            for _ in range(RESETS):
                try:
                    session.link.reset()
                    session.agent.start(by=by.sooner(RESET_SECONDS))
                except DeadlineExpired:
                    by.left("an answer on the console")
                    continue
                except (BadFrame, DeviceRefused, LinkLost):
                    session.link.bye()
                    break
                kept.pop_all()
                return session
        return None

    def _start(self, by: Deadline) -> Session:
        dialogue = self._dialogue()
        way = LoggingIn(dialogue, self._login)
        mute = 0
        for _ in range(STARTS):
            way.reach(by=by)
            try:
                facts = ask_facts(dialogue, self._layout, by=by)
                if facts.uid != "0":
                    password = way.let_in_by or self._login.password
                    secret = asked(password, by=by) if password else None
                    become_root(dialogue, facts, secret, by=by)
                check_place(dialogue, self._layout, by=by)
                if not facts.there:
                    install(dialogue, self._layout, facts, by=by)
            except Unreachable as problem:
                self._log.debug("begun anew: %s", problem.message)
                continue
            if (session := self._run_helper(dialogue, way.logged_in, by)) is not None:
                self.let_in_by = way.let_in_by or self.let_in_by
                return session
            mute += 1
            if mute == MUTE_STARTS:
                break
        raise DeviceRefused(
            "the helper does not start on the box",
            hint=f"The console's last line is: {self.tap.text.last_line() or '(nothing)'}",
        )

    def _run_helper(self, dialogue: Dialogue, log_out: bool, by: Deadline) -> Session | None:
        """The helper in the place of the shell that listens; None when it does not answer."""
        with self._connected() as (session, kept):
            script = start_script(self._layout, session.link.nonce, log_out=log_out)
            for seconds in START_SECONDS:  # the order may be damaged on its way
                dialogue.order(script)
                try:
                    session.agent.start(by=by.sooner(seconds))
                except DeadlineExpired:
                    by.left("the helper on the box to start")
                    continue
                except (LinkError, DeviceRefused) as problem:
                    self._log.debug("no helper yet: %s", problem)
                    break
                kept.pop_all()
                return session
        return None
