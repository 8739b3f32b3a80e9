"""A session with a token of this station's own (its HSM) that comes back by itself.

A PKCS#11 session dies with its worker, with the token's power and with the way to an HSM on the
network, and nobody is logged in to the one that comes after. Here the next call starts a new worker
and logs in again. What only looks at the token is then asked once more; what signs, makes or
removes something never is: whether the first try took effect is unknown, and whoever asked for it
has to decide.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, LinkError, RigError, TokenRefused, TrustBoxError
from harness.secret import Secret
from provisioning.pin_budget import PinBudget
from provisioning.token import Token
from provisioning.token_process import TokenProcess
from provisioning.token_state import TokenState

LOST = frozenset(
    {
        *("CKR_CRYPTOKI_NOT_INITIALIZED", "CKR_DEVICE_ERROR", "CKR_DEVICE_MEMORY"),
        *("CKR_DEVICE_REMOVED", "CKR_FUNCTION_FAILED", "CKR_GENERAL_ERROR", "CKR_HOST_MEMORY"),
        *("CKR_OPERATION_ACTIVE", "CKR_SESSION_CLOSED", "CKR_SESSION_HANDLE_INVALID"),
        *("CKR_SLOT_ID_INVALID", "CKR_TOKEN_NOT_PRESENT", "CKR_USER_NOT_LOGGED_IN"),
    }
)
"""Answers (PKCS#11 v2.40, 5.1) that are about the token or the session and never about what was
asked: a new session may do better."""
_LOOKS = frozenset({"attributes", "mechanisms", "objects", "slots"})
_PINS = frozenset({"init_pin", "init_token", "login", "logout", "set_pin"})
_ABOUT_THE_PIN = frozenset({"CKR_PIN_EXPIRED", "CKR_PIN_INCORRECT", "CKR_PIN_LOCKED"})


class TokenAway(RigError):
    """A token of this station's own cannot be used now. It says nothing about any box."""

    def __init__(self, token: str, why: TrustBoxError, *, hint: str = "") -> None:
        super().__init__(
            f"this station's token {token} cannot be used now: {why.message}",
            hint=hint
            or "Is it there, and the way to it, and room on its disk? The next try logs in again by"
            " itself; nothing is wrong with the box. What was being signed is in the CA's index as"
            " unfinished.",
        )
        self.token, self.ckr = token, why.ckr if isinstance(why, TokenRefused) else ""


class TokenSession:
    """Implements ``Caller``. ``open`` it first, which raises what ``Token.login`` does; from then
    on calls raise TokenAway where the session was lost, and TokenRefused for all other answers.

    A PIN that was refused is not given again: while ``pin`` says the same, nothing is tried.
    """

    def __init__(
        self,
        process: TokenProcess,
        meant: Callable[[Token, Deadline], TokenState],
        pin: Callable[[], Secret],
        *,
        budget: PinBudget | None = None,
    ) -> None:
        """``meant`` finds the token, ``pin`` is asked at each login, ``budget`` counts failures."""
        self._process, self._meant, self._pin, self._budget = process, meant, pin, budget
        self._turn = threading.RLock()
        self._worker: object | None = None
        self._refused: tuple[Secret, TokenRefused] | None = None
        self._name = ""

    def open(self, *, by: Deadline) -> Token:
        """The token, logged in, over this session. Closes it when that cannot be had."""
        try:
            state = self._login(by)
        except BaseException:
            self.close()
            raise
        token = Token(self)
        token.budget, token.logged_in = self._budget, state
        return token

    def call(self, do: str, /, *, doing: str, by: Deadline, **arguments: object) -> object:
        with self._alone(doing, by):
            if do in _PINS:
                return self._process.call(do, doing=doing, by=by, **arguments)
            for try_again in (do in _LOOKS, False):
                self._logged_in_again(by)
                try:
                    return self._process.call(do, doing=doing, by=by, **arguments)
                except (LinkError, TokenRefused) as problem:
                    if isinstance(problem, LinkError) and self._process.worker is self._worker:
                        raise  # it lives, and said what it could not do: nothing was lost
                    if isinstance(problem, TokenRefused):
                        if problem.ckr not in LOST:
                            raise
                        self._process.close()  # its next session may be as bad
                    if not try_again or isinstance(problem, DeadlineExpired):
                        raise TokenAway(self._name, problem) from problem
            raise AssertionError("the last round returns or raises")

    def close(self) -> None:
        self._worker = None
        self._process.close()

    def _logged_in_again(self, by: Deadline) -> None:
        if self._worker is not None and self._process.worker is self._worker:
            return
        try:
            self._login(by)
        except TrustBoxError as problem:
            self._process.close()
            hint = problem.hint if isinstance(problem, TokenRefused) else ""
            raise TokenAway(self._name, problem, hint=hint) from problem

    def _login(self, by: Deadline) -> TokenState:
        token = Token(self._process)
        token.budget = self._budget
        found = self._meant(token, by)
        self._name = found.label
        pin = self._pin()
        if self._refused is not None:
            before, refusal = self._refused
            if hmac.compare_digest(before.reveal(), pin.reveal()):
                raise TokenRefused(refusal.doing, refusal.ckr, hint=_NOT_AGAIN)
        try:
            state = token.login(found.label, pin, serial=found.serial, by=by)
        except TokenRefused as refusal:
            if refusal.ckr in _ABOUT_THE_PIN:
                self._refused = pin, refusal
            raise
        self._worker, self._refused = self._process.worker, None
        return state

    @contextmanager
    def _alone(self, doing: str, by: Deadline) -> Iterator[None]:
        """A login belongs to the call after it: no other thread's comes in between."""
        if not self._turn.acquire(timeout=by.left(doing)):
            raise TokenAway(self._name, DeadlineExpired(f"its turn for {doing}", by.seconds))
        try:
            yield
        finally:
            self._turn.release()


_NOT_AGAIN = (
    "The same PIN was refused before and is not tried again: each wrong one uses up a try. Put the"
    " right one where the token's URI says (pin-source), or start this program again."
)
