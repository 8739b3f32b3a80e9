"""PKCS#11 URIs (RFC 7512), as IoT Edge, OpenSSL and p11-kit take them."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import BadInput, Misuse
from harness.secret import Secret
from harness.shown import HIDDEN
from provisioning.pkcs11_uri import attributes, utf8
from provisioning.token_state import TokenState

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
"""What stays as it is. Less than RFC 7512 allows: aziotctl encodes ``-`` as well, and an encoded
octet is read by everybody, a bare space or & is not."""
_KNOWN = (
    "token", "serial", "manufacturer", "model", "object", "id", "type", "slot-id", "pin-value"
)  # fmt: skip
_TYPES = frozenset({"", "private", "public", "cert", "data", "secret-key"})


@dataclass(frozen=True, slots=True)
class Pkcs11Uri:
    """One object, or with nothing but a token or a slot, a token. ``slot`` -1: not given.

    Give ``token`` or ``slot``, not both: iot-identity-service's code and its documentation differ
    on which of them wins. ``pin`` stands in the text in clear: for files of mode 0600 only.
    """

    token: str = ""
    object: str = ""
    id: bytes = b""
    type: str = ""
    slot: int = -1
    pin: Secret | None = None
    serial: str = ""
    manufacturer: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        if self.token and self.slot >= 0:
            raise Misuse("a PKCS#11 URI names a token or a slot, not both")
        if not self.token and self.slot < 0:
            raise Misuse("a PKCS#11 URI names a token or a slot")
        if self.type not in _TYPES:
            raise Misuse(f"a PKCS#11 URI knows no type {self.type[:20]!r}")
        if len(self.token.encode()) > 32 or not -1 <= self.slot < 2**64:
            raise Misuse("a PKCS#11 token's label has 32 octets at most, its slot 64 bits")
        if "\0" in self.token + self.object or (self.pin and b"\0" in self.pin.reveal()):
            raise Misuse("a PKCS#11 URI holds no NUL")

    def text(self, *, with_pin: bool = False) -> str:
        """The URI. With the PIN only where that is asked for, and only if there is one."""
        parts = [("slot-id", str(self.slot))] if self.slot >= 0 else []
        parts += [("token", _encoded(self.token.encode()))] if self.token else []
        parts += [
            (name, _encoded(value.encode()))
            for name, value in (
                ("serial", self.serial),
                ("manufacturer", self.manufacturer),
                ("model", self.model),
            )
            if value
        ]
        parts += [("object", _encoded(self.object.encode()))] if self.object else []
        parts += [("id", "".join(f"%{octet:02x}" for octet in self.id))] if self.id else []
        parts += [("type", self.type)] if self.type else []
        text = "pkcs11:" + ";".join(f"{key}={value}" for key, value in parts)
        if with_pin and self.pin is not None:
            text += f"?pin-value={_encoded(self.pin.reveal())}"
        return text

    @classmethod
    def parse(cls, text: str, *, where: str = "the key's URI") -> Pkcs11Uri:
        """Raises Misuse (BadInput, naming the attribute), never quoting the text: it may hold a
        PIN.
        """
        found = attributes(text, _KNOWN, where=where, key="the URI")
        slot = found.get("slot-id", b"")
        if "slot-id" in found and not (slot.isdigit() and len(slot) <= 20):
            raise BadInput(where=where, key="slot-id", value=HIDDEN, expected="a number")
        names = ("token", "object", "type", "serial", "manufacturer", "model")
        texts = {name: utf8(found, name, where=where) or "" for name in names}
        return cls(
            **texts,
            id=found.get("id", b""),
            slot=int(slot) if slot else -1,
            pin=Secret(found["pin-value"]) if "pin-value" in found else None,
        )

    def means(self, state: TokenState) -> bool:
        """Whether a slot's token is the one that is named, by everything that is named of it."""
        return (
            state.initialised
            and self.token in ("", state.label)
            and self.slot in (-1, state.slot)
            and self.serial in ("", state.serial)
            and self.manufacturer in ("", state.manufacturer)
            and self.model in ("", state.model)
        )


def _encoded(octets: bytes) -> str:
    return "".join(chr(octet) if octet in _PLAIN else f"%{octet:02X}" for octet in octets)
