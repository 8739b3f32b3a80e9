"""A PIN is tried by a session of ours before it is handed to a program that gives it to a token.

OpenSSL neither looks at the token's flags nor counts: a script with a wrong PIN in its file would
lock the token at the seventh run. Ours does both (``Token.login``), so that one run with a wrong
PIN is one counted try, and none is made where the next could be the last.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from harness.deadline import Deadline
from harness.errors import DeviceRefused
from harness.secret import Secret
from provisioning.authority_tokens import pin_budget
from provisioning.iotedge_uri import Pkcs11Uri
from provisioning.token import Token
from provisioning.token_process import TokenProcess
from provisioning.token_state import TokenState
from provisioning.token_uri import TokenUri


@dataclass(frozen=True, slots=True)
class HostPinCheck:
    """Implements ``PinCheck`` for a token of a module of this host's.

    ``state`` is the station's directory, which has the counts.
    """

    module: Path
    key: Pkcs11Uri
    state: Path

    def __call__(self, pin: Secret, *, by: Deadline) -> None:
        """Raises TokenRefused when the token refuses the PIN, and without a try where its flags or
        this station's count say that it must not be made; DeviceRefused for no such token.
        """
        # A token's module finds its way by its maker's variables, as in OpenSSL.
        token = Token(TokenProcess(str(self.module), environment=dict(os.environ)))
        try:
            mine = self._mine(token, by)
            named = TokenUri(self.module, mine.label, serial=mine.serial)
            token.budget = pin_budget(str(named), self.state)
            token.login(mine.label, pin, serial=mine.serial, by=by)
        finally:
            token.close()

    def _mine(self, token: Token, by: Deadline) -> TokenState:
        there = [state for state in token.slots(by=by) if self.key.means(state)]
        named = self.key.token or f"slot {self.key.slot}"
        if len(there) > 1:
            serials = ", ".join(sorted(state.serial for state in there))
            raise DeviceRefused(
                f"{self.module} shows {len(there)} tokens as --key names it ({named})",
                hint=f"Put serial=... into the URI; there are {serials}.",
            )
        if not there:
            raise DeviceRefused(
                f"{self.module} shows no token as --key names it ({named})",
                hint="Is it plugged in? pkcs11-tool --module MODULE -L shows what is there.",
            )
        return there[0]
