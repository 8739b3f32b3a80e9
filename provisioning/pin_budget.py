"""How many wrong PINs this station has given each token, kept over crashes and power cuts.

A token counts too, but some do not tell, and OP-TEE's locks the SO PIN for good after seven. So a
try is counted on the disk before it is made, and taken back only when the token accepted the PIN,
or answered something that is not about the PIN. With ``MOST`` failures on record nothing is tried
until a person says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.deadline import Deadline
from harness.errors import BadInput, TokenRefused
from provisioning.locks import locked
from provisioning.private_files import private_directory, read_bounded, write_durably
from provisioning.token_state import TokenState

_LOCK_SECONDS = 60.0
MOST = 5
"""Wrong PINs in a row, of OP-TEE's seven: two tries stay for a person."""

Role = Literal["user", "so"]
PIN_NAMES: Mapping[Role, str] = {"user": "user PIN", "so": "SO PIN"}
_ABOUT_THE_PIN = frozenset({"CKR_PIN_INCORRECT", "CKR_PIN_LOCKED", "CKR_PIN_EXPIRED"})


@dataclass(frozen=True, slots=True)
class PinBudget:
    """One small file for each token and role below ``directory``."""

    directory: Path
    again: str = "trustbox keys pin forget-failures"
    """What a person runs who has found the right PIN."""

    @contextmanager
    def trying(
        self, token: TokenState, role: Role, *, doing: str = "", by: Deadline | None = None
    ) -> Iterator[None]:
        """Around the one call that gives the token a PIN, for ``doing``. The block is not entered
        when it raises TokenRefused, CKR_PIN_LOCKED, as too many were wrong, or DeadlineExpired, as
        somebody else (a minute at the utmost, or ``by``) is giving that token a PIN.
        """
        private_directory(self.directory)
        file = self._file(token, role)
        with self._alone(token, role, by or Deadline.after(_LOCK_SECONDS)):
            failed = self.failures(token, role)
            if failed >= MOST:
                raise TokenRefused(
                    doing or f"logging in to token {token.label} with its {PIN_NAMES[role]}",
                    "CKR_PIN_LOCKED",
                    hint=f"Not tried: this station has given it {failed} wrong ones in a row."
                    f" Find the right PIN, then: {self.again}",
                )
            self._keep(file, failed + 1)
            try:
                yield
            except TokenRefused as refused:
                if refused.ckr not in _ABOUT_THE_PIN:
                    self._keep(file, failed)
                raise
            self._keep(file, 0)

    def failures(self, token: TokenState, role: Role) -> int:
        """Wrong PINs in a row, and tries whose outcome nobody saw."""
        file = self._file(token, role)
        if not file.exists():
            return 0
        try:
            text = read_bounded(file, 4096, expected="a count of wrong PINs")
            found = json.loads(text)["failures"]
        except (ValueError, KeyError, TypeError):
            found = None
        if type(found) is not int or found < 0:
            raise BadInput(
                where=str(file), key="failures", value=found, expected="a count of wrong PINs"
            )
        return found

    def forget(self, token: TokenState, role: Role) -> None:
        """A person says that the PIN is right now."""
        private_directory(self.directory)
        file = self._file(token, role)
        with self._alone(token, role, Deadline.after(_LOCK_SECONDS)):
            self._keep(file, 0)

    def _alone(self, token: TokenState, role: Role, by: Deadline) -> AbstractContextManager[None]:
        waiting = f"another process that gives token {token.label} its {PIN_NAMES[role]}"
        return locked(Path(f"{self._file(token, role)}.lock"), waiting, by=by)

    def _file(self, token: TokenState, role: Role) -> Path:
        """OP-TEE's serial numbers are the slots' and the same on every box; its UUID is not."""
        of = token.tee_uuid or token.model or "token"
        named = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{of}-{token.serial}-{role}")
        return self.directory / f"{named}.json"

    @staticmethod
    def _keep(file: Path, failures: int) -> None:
        write_durably(file, json.dumps({"failures": failures}).encode() + b"\n")
