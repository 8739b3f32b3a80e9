"""A token's life: found by its label and serial number, initialised once, its PINs.

A part of ``Token``, in a file of its own for its length. No PIN is tried when the token's flags, or
this station's own count, say that a wrong one could lock the token for good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext

from harness.deadline import Deadline
from harness.errors import BadFrame, DeviceRefused, Misuse, TokenRefused
from harness.secret import Secret
from provisioning.pin_budget import PIN_NAMES, PinBudget, Role
from provisioning.token_secrets import Caller
from provisioning.token_state import TokenFlags, TokenState


class TokenPins:
    """Needs no login, but the PINs themselves."""

    _caller: Caller
    budget: PinBudget | None
    logged_in: TokenState | None

    def slots(self, *, by: Deadline) -> tuple[TokenState, ...]:
        found = self._caller.call("slots", doing="asking the token for its state", by=by)
        if not isinstance(found, list):
            raise BadFrame("the token module shows no list of slots")
        return tuple(TokenState.parse(slot) for slot in found)

    def labelled(self, label: str, *, serial: str | None = None, by: Deadline) -> TokenState | None:
        """The initialised token of this label, and of this serial number if it is given. Raises
        DeviceRefused when two bear it.
        """
        found = [
            s
            for s in self.slots(by=by)
            if s.initialised and s.label == label and serial in (None, s.serial)
        ]
        if len(found) > 1:
            serials = ", ".join(sorted(s.serial for s in found))
            raise DeviceRefused(
                f"{len(found)} tokens are labelled {label}, expected one",
                hint=f"Name its serial number as well; there are {serials}.",
            )
        return found[0] if found else None

    def initialise(
        self,
        label: str,
        *,
        so_pin: Secret,
        user_pin: Secret,
        serial: str | None = None,
        by: Deadline,
    ) -> TokenState:
        """Label the first blank token, give it both PINs; finishes what was cut short.

        A token of that label without user PIN only gets its user PIN; ``serial`` means this one,
        and no blank one is taken then. Raises Misuse when such a token is complete, DeviceRefused
        when no blank one is left. Never wipes anything.
        """
        for pin in (so_pin, user_pin):
            _check_pin(pin)
        if not 1 <= len(label.encode()) <= 32 or label != label.strip():
            raise Misuse("a token label must have 1 to 32 octets and no blanks around it")
        mine = self._present(label, by, serial) if serial else self.labelled(label, by=by)
        if mine is not None and mine.has_user_pin:
            raise Misuse(
                f"the token {label} is initialised already",
                hint="Initialising it again would wipe its keys, so that is never done.",
            )
        doing = f"initialising token {label}"
        if mine is None:
            blank = next((s for s in self.slots(by=by) if not s.initialised), None)
            if blank is None:
                raise DeviceRefused(f"no blank token is left for {label}")
            self._caller.call(
                "init_token", doing=doing, by=by,
                slot=blank.slot, label=label, so_pin=so_pin.reveal(),
            )  # fmt: skip
            mine = self._present(label, by)
        self._check_tries(mine, "so", doing)
        with self._counted(mine, "so", doing, by):
            self._caller.call(
                "init_pin", doing=doing, by=by,
                slot=mine.slot, so_pin=so_pin.reveal(), pin=user_pin.reveal(),
            )  # fmt: skip
        return self._present(label, by, mine.serial)

    def login(
        self, label: str, pin: Secret, *, serial: str | None = None, by: Deadline
    ) -> TokenState:
        """Raises TokenRefused: CKR_PIN_INCORRECT; CKR_PIN_LOCKED also when the next wrong PIN would
        lock the token for good: that try is left to a person.
        """
        mine = self._present(label, by, serial)
        doing = f"logging in to token {label}"
        self._check_tries(mine, "user", doing)
        with self._counted(mine, "user", doing, by):
            self._caller.call("login", doing=doing, by=by, slot=mine.slot, pin=pin.reveal())
        self.logged_in = mine
        return mine

    def change_pin(
        self,
        label: str,
        role: Role,
        old: Secret,
        new: Secret,
        *,
        serial: str | None = None,
        by: Deadline,
    ) -> TokenState:
        """C_SetPIN by the user or the SO, and logged out then. Raises as ``login`` does."""
        _check_pin(new)
        mine = self._present(label, by, serial)
        doing = f"changing the {PIN_NAMES[role]} of token {label}"
        self._check_tries(mine, role, doing)
        self.logged_in = None
        with self._counted(mine, role, doing, by):
            self._caller.call(
                "set_pin", doing=doing, by=by,
                slot=mine.slot, who=role, old=old.reveal(), new=new.reveal(),
            )  # fmt: skip
        return self._present(label, by, serial)

    def reset_user_pin(
        self,
        label: str,
        so_pin: Secret,
        user_pin: Secret,
        *,
        serial: str | None = None,
        by: Deadline,
    ) -> TokenState:
        """A new user PIN from the SO (C_InitPIN): also for a locked one. Keys stay."""
        _check_pin(user_pin)
        mine = self._present(label, by, serial)
        doing = f"setting the user PIN of token {label}"
        self._check_tries(mine, "so", doing)
        self.logged_in = None
        with self._counted(mine, "so", doing, by):
            self._caller.call(
                "init_pin", doing=doing, by=by,
                slot=mine.slot, so_pin=so_pin.reveal(), pin=user_pin.reveal(),
            )  # fmt: skip
        if self.budget:
            self.budget.forget(mine, "user")
        return self._present(label, by, serial)

    def initialise_again(
        self, label: str, *, so_pin: Secret, serial: str | None = None, by: Deadline
    ) -> TokenState:
        """WIPE the token: keys, certificates, data, user PIN. Label and SO PIN stay.

        Never called without somebody's permission for this very box (KeySession.wipe).
        """
        mine = self._present(label, by, serial)
        doing = f"wiping token {label}"
        self._check_tries(mine, "so", doing)
        self.logged_in = None
        with self._counted(mine, "so", doing, by):
            self._caller.call(
                "init_token", doing=doing, by=by,
                slot=mine.slot, label=label, so_pin=so_pin.reveal(), wipe=True,
            )  # fmt: skip
        return self._present(label, by, mine.serial)

    def logout(self, *, by: Deadline) -> None:
        self.logged_in = None
        self._caller.call("logout", doing="logging out of the token", by=by)

    @staticmethod
    def _check_tries(token: TokenState, role: Role, doing: str) -> None:
        if token.flags & _NO_TRIES[role]:
            raise TokenRefused(
                doing,
                "CKR_PIN_LOCKED",
                hint=f"The {PIN_NAMES[role]} is locked or has one try left. Not tried: a wrong one"
                " would lock it for good. Check the PIN by hand.",
            )

    @contextmanager
    def _counted(self, token: TokenState, role: Role, doing: str, by: Deadline) -> Iterator[None]:
        budget = self.budget
        try:
            with budget.trying(token, role, doing=doing, by=by) if budget else nullcontext():
                yield
        except TokenRefused as refusal:
            if refusal.ckr == "CKR_PIN_INCORRECT":
                refusal.hint = "Every wrong PIN uses up one of seven tries: check it first." + (
                    " An SO PIN that is locked stays so for ever." if role == "so" else ""
                )
            raise

    def _present(self, label: str, by: Deadline, serial: str | None = None) -> TokenState:
        found = self.labelled(label, serial=serial, by=by)
        if found is None:
            of = f" and has the serial number {serial}" if serial else ""
            raise DeviceRefused(f"no token is labelled {label}{of}")
        return found


_NO_TRIES: Mapping[Role, TokenFlags] = {
    "user": TokenFlags.USER_PIN_LOCKED | TokenFlags.USER_PIN_FINAL_TRY,
    "so": TokenFlags.SO_PIN_LOCKED | TokenFlags.SO_PIN_FINAL_TRY,
}


def _check_pin(pin: Secret) -> None:
    if not 4 <= len(pin.reveal()) <= 128:
        raise Misuse("a PIN must have 4 to 128 characters")
