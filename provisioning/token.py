"""One PKCS#11 API for every token: the box's, driven from here, and the factory's HSM.

A KeyPair is found by CKA_ID, never by label (labels may repeat). Whoever wants to know whose key it
is asks ``keys`` (the box) or ``authority`` (the factory).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import utils

from harness.deadline import Deadline
from harness.errors import BadFrame, DeviceRefused, Misuse, TokenRefused
from harness.secret import Secret
from provisioning.token_public import KeyPair as KeyPair
from provisioning.token_public import KeyProfile, shown_pair
from provisioning.token_public import verifies as verifies
from provisioning.token_state import TokenFlags, TokenState


class Caller(Protocol):
    """Asks the token worker; ``TokenProcess`` is one."""

    def call(self, do: str, /, *, doing: str, by: Deadline, **arguments: object) -> object: ...
    def close(self) -> None: ...


class Token:
    """A PKCS#11 module behind a worker. Every verb raises TokenRefused, DeadlineExpired, LinkLost.

    ``login`` lasts until ``logout``, ``close`` or a link error.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def close(self) -> None:
        self._caller.close()

    def slots(self, *, by: Deadline) -> tuple[TokenState, ...]:
        found = self._caller.call("slots", doing="asking the token for its state", by=by)
        if not isinstance(found, list):
            raise BadFrame("the token module shows no list of slots")
        return tuple(TokenState.parse(slot) for slot in found)

    def labelled(self, label: str, *, by: Deadline) -> TokenState | None:
        """The initialised token of this label. Raises DeviceRefused when two bear it."""
        found = [s for s in self.slots(by=by) if s.initialised and s.label == label]
        if len(found) > 1:
            raise DeviceRefused(f"{len(found)} tokens are labelled {label}, expected one")
        return found[0] if found else None

    def initialise(
        self, label: str, *, so_pin: Secret, user_pin: Secret, by: Deadline
    ) -> TokenState:
        """Label the first blank token, give it both PINs; finishes what was cut short.

        A token of that label without user PIN only gets its user PIN. Raises Misuse when such a
        token is complete, DeviceRefused when no blank one is left. Never wipes anything.
        """
        for pin in (so_pin, user_pin):
            if not 4 <= len(pin.reveal()) <= 128:
                raise Misuse("a PIN must have 4 to 128 characters")
        if not 1 <= len(label.encode()) <= 32 or label != label.strip():
            raise Misuse("a token label must have 1 to 32 octets and no blanks around it")
        mine = self.labelled(label, by=by)
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
        if TokenFlags.SO_PIN_LOCKED in mine.flags or TokenFlags.SO_PIN_FINAL_TRY in mine.flags:
            raise _no_tries_left(doing, "SO PIN")
        self._caller.call(
            "init_pin", doing=doing, by=by,
            slot=mine.slot, so_pin=so_pin.reveal(), pin=user_pin.reveal(),
        )  # fmt: skip
        return self._present(label, by)

    def login(self, label: str, pin: Secret, *, by: Deadline) -> TokenState:
        """Raises TokenRefused: CKR_PIN_INCORRECT; CKR_PIN_LOCKED also when the next wrong PIN would
        lock the token for good: that try is left to a person.
        """
        mine = self._present(label, by)
        doing = f"logging in to token {label}"
        if TokenFlags.USER_PIN_LOCKED in mine.flags or TokenFlags.USER_PIN_FINAL_TRY in mine.flags:
            raise _no_tries_left(doing, "user PIN")
        try:
            self._caller.call("login", doing=doing, by=by, slot=mine.slot, pin=pin.reveal())
        except TokenRefused as refusal:
            if refusal.ckr == "CKR_PIN_INCORRECT":
                refusal.hint = "Every wrong PIN uses up one of seven tries: check it first."
            raise
        return mine

    def logout(self, *, by: Deadline) -> None:
        self._caller.call("logout", doing="logging out of the token", by=by)

    def find(self, id: bytes, *, by: Deadline) -> KeyPair | None:
        """The pair of this CKA_ID; None when there is none, or a public half alone (see ensure).

        Raises DeviceRefused for anything else but one whole pair.
        """
        public, private = self._halves(id, by)
        if not private and len(public) <= 1:
            return None
        if len(public) != 1 or len(private) != 1:
            raise DeviceRefused(
                f"the token holds {len(private)} private and {len(public)} public keys of id"
                f" {id.hex()}, expected one of each"
            )
        return shown_pair(id, public[0])

    def ensure(
        self, id: bytes, label: str, profile: KeyProfile = KeyProfile.EC_P256, *, by: Deadline
    ) -> tuple[KeyPair, bool]:
        """The pair of this CKA_ID, generated if there is none; and whether it is new.

        A public key without its private one is what a power cut in C_GenerateKeyPair leaves: it
        is removed first. Anything else that is not one whole pair of ``profile`` raises
        DeviceRefused.
        """
        found = self.find(id, by=by)
        if found is not None:
            if found.profile is not profile:
                raise DeviceRefused(
                    f"key {label} in the token is {found.profile.value}, expected {profile.value}"
                )
            return found, False
        self.destroy("public", id, by=by)
        self._caller.call(
            "generate", doing=f"generating key {label}", by=by,
            id=id, label=label, **profile.template,
        )  # fmt: skip
        made = self.find(id, by=by)
        if made is None:
            raise DeviceRefused(f"the token generated key {label} but does not show it")
        return made, True

    def sign(self, id: bytes, digest: bytes, *, by: Deadline) -> bytes:
        """ECDSA over a digest; DER (ECDSA-Sig-Value, RFC 3279 2.2.3)."""
        raw = self.sign_raw(id, digest, "ecdsa", by=by)
        half = len(raw) // 2
        if half not in (32, 48) or len(raw) % 2:
            raise BadFrame("the token's signature is not r and s of P-256 or P-384")
        r, s = int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
        return utils.encode_dss_signature(r, s)

    def sign_raw(self, id: bytes, data: bytes, mechanism: str, *, by: Deadline) -> bytes:
        """What the mechanism gives: ecdsa (of a digest), rsa-pkcs1 (of a DigestInfo),
        rsa-pss-sha256 (of a digest; salt of 32 bytes) or eddsa."""
        found = self._caller.call(
            "sign", doing="signing in the token", by=by, id=id, digest=data, mechanism=mechanism
        )
        if not isinstance(found, bytes):
            raise BadFrame("the token's signature cannot be read")
        return found

    def attributes(
        self, id: bytes, names: tuple[str, ...], *, by: Deadline
    ) -> Mapping[str, object]:  # fmt: skip
        """The private key's attributes; one that is withheld is the CKR's name, ``CKR_…``."""
        found = self._caller.call(
            "attributes", doing="reading key attributes", by=by,
            kind="private", id=id, names=list(names),
        )  # fmt: skip
        if not isinstance(found, dict) or set(found) != set(names):
            raise BadFrame("the token's key attributes cannot be read")
        return {n: v["ckr"] if isinstance(v, dict) and "ckr" in v else v for n, v in found.items()}

    def refuses_to_set(self, id: bytes, name: str, *, by: Deadline) -> str:
        """Try to set a private key's attribute to true; the refusal's CKR, "" if it worked."""
        return self._refusal(
            lambda: self._caller.call(
                "set_true", doing=f"setting {name}", by=by, kind="private", id=id, name=name
            )
        )

    def certificates(self, id: bytes, *, by: Deadline) -> tuple[bytes, ...]:
        """DER of every certificate object of this CKA_ID."""
        found = (
            entry.get("value") for entry in self._list(id, by) if entry["kind"] == "certificate"
        )
        return tuple(value for value in found if isinstance(value, bytes))

    def store_certificate(
        self, id: bytes, label: str, *, subject: bytes, der: bytes, by: Deadline
    ) -> None:  # fmt: skip
        self._caller.call(
            "store_certificate", doing=f"storing certificate {label}", by=by,
            id=id, label=label, subject=subject, value=der,
        )  # fmt: skip

    def destroy(self, kind: str, id: bytes, *, by: Deadline) -> int:
        """Remove the objects of ``kind`` (private, public, certificate); how many there were."""
        found = self._caller.call("destroy", doing=f"erasing {kind}", by=by, kind=kind, id=id)
        return found if isinstance(found, int) else 0

    def _present(self, label: str, by: Deadline) -> TokenState:
        found = self.labelled(label, by=by)
        if found is None:
            raise DeviceRefused(f"no token is labelled {label}")
        return found

    def _halves(self, id: bytes, by: Deadline) -> tuple[list[dict[str, object]], ...]:
        found = self._list(id, by)
        return tuple([e for e in found if e["kind"] == kind] for kind in ("public", "private"))

    def _list(self, id: bytes, by: Deadline) -> list[dict[str, object]]:
        found = self._caller.call("objects", doing="looking for keys in the token", by=by, id=id)
        if not isinstance(found, list) or not all(
            isinstance(entry, dict) and isinstance(entry.get("kind"), str) for entry in found
        ):
            raise BadFrame("the token's list of objects cannot be read")
        return found

    @staticmethod
    def _refusal(attempt: Callable[[], object]) -> str:
        try:
            attempt()
        except TokenRefused as refusal:
            return refusal.ckr
        return ""


def _no_tries_left(doing: str, which: str) -> TokenRefused:
    return TokenRefused(
        doing,
        "CKR_PIN_LOCKED",
        hint=f"The {which} is locked or has one try left. Not tried: a wrong one would lock it for"
        " good. Check the PIN by hand.",
    )
