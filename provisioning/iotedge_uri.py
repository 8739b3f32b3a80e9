"""PKCS#11 URIs (RFC 7512), as IoT Edge, OpenSSL and p11-kit take them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from harness.errors import Misuse
from harness.secret import Secret

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
"""What stays as it is. Less than RFC 7512 allows: aziotctl encodes ``-`` as well, and an encoded
octet is read by everybody, a bare space or & is not."""
_KEYS = ("token", "object", "id", "type", "slot-id")
_TYPES = frozenset({"", "private", "public", "cert", "data", "secret-key"})
_ENCODED = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/|]|%[0-9A-Fa-f]{2})*")


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
        parts += [("object", _encoded(self.object.encode()))] if self.object else []
        parts += [("id", "".join(f"%{octet:02x}" for octet in self.id))] if self.id else []
        parts += [("type", self.type)] if self.type else []
        text = "pkcs11:" + ";".join(f"{key}={value}" for key, value in parts)
        if with_pin and self.pin is not None:
            text += f"?pin-value={_encoded(self.pin.reveal())}"
        return text

    @classmethod
    def parse(cls, text: str) -> Pkcs11Uri:
        """Raises Misuse, never quoting the text: it may hold a PIN."""
        scheme, _, rest = text.partition(":")
        path, asked, query = rest.partition("?")
        if scheme != "pkcs11" or (asked and not query):
            raise Misuse("this is no PKCS#11 URI (RFC 7512)")
        found = _fields(path, ";")
        pins = _fields(query, "&") if asked else {}
        if set(found) - set(_KEYS) or set(pins) - {"pin-value"}:
            raise Misuse("this PKCS#11 URI has an attribute that is not used here")
        slot = found.get("slot-id", b"")
        if "slot-id" in found and not (slot.isdigit() and len(slot) <= 20):
            raise Misuse("this PKCS#11 URI's slot is no number")
        try:
            return cls(
                token=found.get("token", b"").decode(),
                object=found.get("object", b"").decode(),
                id=found.get("id", b""),
                type=found.get("type", b"").decode(),
                slot=int(slot) if slot else -1,
                pin=Secret(pins["pin-value"]) if "pin-value" in pins else None,
            )
        except UnicodeDecodeError:
            raise Misuse("this PKCS#11 URI's labels are not UTF-8") from None


def _fields(text: str, separator: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(separator):
        key, given, value = part.partition("=")
        if not given or key in found or not _ENCODED.fullmatch(value):
            raise Misuse("this is no PKCS#11 URI (RFC 7512)")
        found[key] = unquote_to_bytes(value)
    return found


def _encoded(octets: bytes) -> str:
    return "".join(chr(octet) if octet in _PLAIN else f"%{octet:02X}" for octet in octets)
