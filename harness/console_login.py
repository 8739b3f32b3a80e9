"""Logging in on a serial console: whatever is at the other end, to a root shell or a clear error.

A frame of bytes lost, doubled or mixed with log lines costs another attempt, never a wrong answer:
what was said last decides what is sent next, and silence is met with Ctrl-C.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.config_secret import asked
from harness.console_dialogue import Dialogue
from harness.console_signs import (
    LOGIN,
    NEW_PASSWORD,
    OLD_PASSWORD,
    PASSWORD,
    PROMPT,
    REFUSED_CHANGE,
    REFUSED_LOGIN,
    RESTARTED,
    UBOOT_PROMPT,
)
from harness.deadline import Deadline
from harness.errors import DeviceRefused, Misuse, Unreachable
from harness.secret import Secret

ATTEMPTS = 3
"""Logins that may fail: a byte of a good password may be lost on the line."""
PATIENCE_SECONDS = 1.5
AFTER_USER_SECONDS = 5.0
BOOTING_SECONDS = 6.0
"""So long a box that boots may be silent before it is spoken to: a key stops U-Boot."""
MOST_PROBES = 4
SIGNS = {
    "refused": REFUSED_LOGIN,
    "refused change": REFUSED_CHANGE,
    "login": LOGIN,
    "old password": OLD_PASSWORD,
    "new password": NEW_PASSWORD,
    "password": PASSWORD,
    "booting": RESTARTED,
    "u-boot": UBOOT_PROMPT,
    "prompt": PROMPT,
}
UNWELCOME = "the box at the console does not let {user!r} in: {reason}"


@dataclass(frozen=True, slots=True)
class ConsoleLogin:
    """Who logs in. ``password`` is asked for when the box asks; None: the account has none.

    ``new_password`` answers a box that wants its password changed at the first login. A box that
    had it changed before refuses the old one; then the new one is tried, each of them once.
    """

    user: str = "root"
    password: Callable[[], Secret] | None = None
    new_password: Callable[[], Secret] | None = None


@dataclass(slots=True)
class LoggingIn:
    """One way from an unknown state of the console to a shell that answers."""

    dialogue: Dialogue
    login: ConsoleLogin
    logged_in: bool = False
    """Whether it was us who logged in: then we log out, too."""
    let_in_by: Callable[[], Secret] | None = None
    """The password that was given last: the account's, once a shell answers. None: none was."""
    _refusals: int = 0
    _probes: int = 0
    _pokes: int = 0

    def reach(self, *, by: Deadline) -> None:
        """Until a shell answers exactly. Raises DeviceRefused, Misuse, Unreachable, BoxDied."""
        if "\n" in self.login.user or "\r" in self.login.user or not self.login.user:
            raise Misuse(f"{self.login.user!r} is no user name")
        patience = 0.0
        while True:
            if by.expired:
                raise self._unreachable(by)
            found = self.dialogue.look(SIGNS, patience=patience, by=by)
            patience = PATIENCE_SECONDS
            if found == "login":
                patience = self._give_user()
            elif found == "password":
                patience = self._give_password(by)
            elif found in ("old password", "new password"):
                patience = self._change_password(found, by)
            elif found == "refused":
                self._count_refusal()
                self.dialogue.forget("refused")
            elif found == "refused change":
                raise self._refused("it does not take the new password")
            elif found == "booting":
                if not self.dialogue.quiet(BOOTING_SECONDS, by=by.sooner(2 * BOOTING_SECONDS)):
                    continue
                self.dialogue.forget("booting")
                self._poke()
            elif found == "u-boot":
                raise DeviceRefused(
                    "the console is at U-Boot's prompt, so there is no shell on the box",
                    hint="Type 'boot' there, or switch the box off and on.",
                )
            elif found == "prompt":
                if self._shell_answers(by):
                    return
            else:
                self._poke()

    def _give_user(self) -> float:
        if self.dialogue.said(REFUSED_LOGIN):
            self._count_refusal()
        self.logged_in = True
        self.dialogue.say(self.login.user.encode() + b"\r")
        return AFTER_USER_SECONDS

    def _give_password(self, by: Deadline) -> float:
        known = self._passwords()
        if not known:
            self._count_refusal()
            self.dialogue.say(b"\r")
            return AFTER_USER_SECONDS
        self._say_password(known[self._refusals % len(known)], by)
        return AFTER_USER_SECONDS

    def _passwords(self) -> list[Callable[[], Secret]]:
        return [one for one in (self.login.password, self.login.new_password) if one is not None]

    def _say_password(self, source: Callable[[], Secret], by: Deadline) -> None:
        self.let_in_by = source
        self.dialogue.say_secret(asked(source, by=by))

    def _change_password(self, found: str, by: Deadline) -> float:
        if self.login.new_password is None:
            self.dialogue.say(b"\x03")
            raise self._refused("it wants its password changed, and no new one was given")
        old = self.let_in_by or self.login.password
        if found == "old password" and old is not None:
            self._say_password(old, by)
        else:
            self._say_password(self.login.new_password, by)
        return AFTER_USER_SECONDS

    def _count_refusal(self) -> None:
        self._refusals += 1
        known = self._passwords()
        if not known:
            if self._refusals >= 2:
                raise self._refused("it asks for a password, and none was given")
        elif len(known) > 1:
            if self._refusals >= len(known):
                raise self._refused("the password is wrong, and so is the new one")
        elif self._refusals >= ATTEMPTS:
            raise self._refused("the password is wrong")

    def _shell_answers(self, by: Deadline) -> bool:
        self._probes += 1
        self.dialogue.unhide()
        if self._probes > MOST_PROBES and self._probes % 2:
            self._poke()
            return False
        if self.dialogue.settle(by=by):
            return True
        self._poke()
        return False

    def _poke(self) -> None:
        """Ctrl-C ends a half-written line, a program left running, a getty's dialogue."""
        self._pokes += 1
        self.dialogue.unhide()
        self.dialogue.say(b"\x03" if self._pokes % 2 else b"\r")

    def _refused(self, reason: str) -> DeviceRefused:
        return DeviceRefused(
            UNWELCOME.format(user=self.login.user, reason=reason),
            hint="The console's last line is: " + (self.dialogue.last_line() or "(nothing)"),
        )

    def _unreachable(self, by: Deadline) -> Unreachable:
        said = self.dialogue.last_line()
        told = f"its last line is '{said}'" if said else "it says nothing at all"
        return Unreachable(f"no shell answers on the console within {by.seconds:.0f} s: {told}")
