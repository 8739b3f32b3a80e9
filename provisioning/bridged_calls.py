"""Calls of a token at the far end of a bridge: what failed is told from what was refused."""

from __future__ import annotations

from collections.abc import Callable

from harness.deadline import Deadline
from harness.errors import LinkError, TokenRefused, TrustBoxError
from provisioning.token_bridge import TokenBridge
from provisioning.token_process import TokenProcess

_COUNTING_SECONDS = 10.0


class BridgedCalls:
    """Calls the worker; when the link is what failed, says so instead of what the module said."""

    def __init__(
        self, process: TokenProcess, bridge: TokenBridge, lost: Callable[[], None]
    ) -> None:
        """``lost``: is called when the way to the token was lost."""
        self._process, self._bridge, self._lost = process, bridge, lost

    def call(self, do: str, /, *, doing: str, by: Deadline, **arguments: object) -> object:
        try:
            return self._process.call(do, doing=doing, by=by, **arguments)
        except (TokenRefused, LinkError) as problem:
            cause = self._bridge.failure
            if cause is not None or isinstance(problem, LinkError):
                self._lost()
            if isinstance(cause, TrustBoxError):
                raise cause from problem
            if isinstance(problem, TokenRefused) and problem.ckr == "CKR_DEVICE_MEMORY":
                problem.hint = f"{self._count(by)}{problem.hint}"
            raise

    def _count(self, by: Deadline) -> str:
        """How many objects are in a full token; "" where it has no memory left to tell."""
        try:
            found = self._process.call(
                "objects", doing="counting what is in the token", by=by.sooner(_COUNTING_SECONDS)
            )
        except TrustBoxError:
            return ""
        return f"{len(found)} objects are in it. " if isinstance(found, list) else ""

    def close(self) -> None:
        self._process.close()
