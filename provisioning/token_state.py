"""What a slot says about itself and its token, parsed strictly. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag
from uuid import UUID

from harness.errors import BadFrame

_TEE_UUID = re.compile(r"TEE UUID ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$")
"""OP-TEE's slot description: ``OP-TEE PKCS11 TA - TEE UUID <gpd.tee.deviceID>``."""


class TokenFlags(IntFlag):
    """CK_TOKEN_INFO.flags, those that we act on (PKCS#11 v2.40, 3.2)."""

    LOGIN_REQUIRED = 0x4
    USER_PIN_INITIALIZED = 0x8
    TOKEN_INITIALIZED = 0x400
    USER_PIN_COUNT_LOW = 0x10000
    USER_PIN_FINAL_TRY = 0x20000
    USER_PIN_LOCKED = 0x40000
    SO_PIN_COUNT_LOW = 0x100000
    SO_PIN_FINAL_TRY = 0x200000
    SO_PIN_LOCKED = 0x400000


@dataclass(frozen=True, slots=True)
class TokenState:
    """One slot with its token. ``tee_uuid`` is None where the slot does not belong to a TEE.

    OP-TEE's token serial is only the slot's number, equal on every box: the TEE UUID tells boxes
    apart.
    """

    slot: int
    label: str
    serial: str
    manufacturer: str
    model: str
    description: str
    flags: TokenFlags
    tee_uuid: UUID | None

    @property
    def initialised(self) -> bool:
        return TokenFlags.TOKEN_INITIALIZED in self.flags

    @property
    def has_user_pin(self) -> bool:
        return TokenFlags.USER_PIN_INITIALIZED in self.flags

    @property
    def told_flags(self) -> tuple[str, ...]:
        """The flags of an initialised token in words, as ``user-pin-final-try``."""
        if not self.initialised:
            return ()
        return tuple(
            (flag.name or "").lower().replace("_", "-") for flag in TokenFlags if flag in self.flags
        )

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "slot": self.slot,
            "label": self.label or None,
            "serial": self.serial,
            "manufacturer": self.manufacturer,
            "model": self.model,
            "initialised": self.initialised,
            "flags": list(self.told_flags),
            "tee_uuid": str(self.tee_uuid) if self.tee_uuid else None,
        }

    @classmethod
    def parse(cls, found: object) -> TokenState:
        """From the worker's answer. Raises BadFrame when a field lacks or has another form."""
        if not isinstance(found, Mapping):
            raise BadFrame("a slot of the token module cannot be read")
        slot, flags = found.get("slot"), found.get("flags")
        if not isinstance(slot, int) or not isinstance(flags, int):
            raise BadFrame("a slot of the token module has no number or no flags")
        texts = {}
        for name in ("label", "serial", "manufacturer", "model", "description"):
            value = found.get(name)
            if not isinstance(value, str) or len(value) > 64 or not (value.isprintable()):
                raise BadFrame(f"slot {slot} of the token module has no readable {name}")
            texts[name] = value.rstrip(" ")
        if not flags & TokenFlags.TOKEN_INITIALIZED:
            texts["label"] = ""  # OP-TEE shows 32 asterisks
        match = _TEE_UUID.search(texts["description"])
        return cls(
            slot=slot,
            flags=TokenFlags(flags & sum(TokenFlags)),
            tee_uuid=UUID(match[1]) if match else None,
            **texts,
        )
