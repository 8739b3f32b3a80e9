"""``pkcs11:`` URIs (RFC 7512): which token, by which module, and where its PIN is. Pure.

::

    pkcs11:token=Line%20CA;serial=0042?module-path=/usr/lib/libhsm.so&pin-source=file:/etc/pin

A PIN itself is never in one here: URIs stand on command lines and in files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote

from harness.errors import BadInput
from harness.shown import HIDDEN
from provisioning.pkcs11_uri import attributes, utf8
from provisioning.token_state import TokenState

_KNOWN = (
    "token", "serial", "manufacturer", "model", "id", "object", "type", "module-path", "pin-source"
)  # fmt: skip
_TYPES = (None, "private", "public")
_PLAIN = ":[]@!$'()*+,=/"


@dataclass(frozen=True, slots=True)
class TokenUri:
    """``module`` and ``pin_source`` are absolute paths; ``id`` names a key by its CKA_ID, and
    ``object`` by its label.
    """

    module: Path
    token: str
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    id: bytes | None = None
    pin_source: Path | None = None
    object: str | None = None

    @classmethod
    def parse(cls, text: str, *, where: str) -> Self:
        """Raises BadInput, naming the attribute. ``pin-value`` is refused and never quoted."""
        found = attributes(text, _KNOWN, where=where, key="the token")
        texts = {name: _text(where, name, found) for name in found if name != "id"}
        if texts.get("type") not in _TYPES:
            raise BadInput(where=where, key="type", value=HIDDEN, expected="private")
        for name, expected in (("token", "the token's label"), ("module-path", "a path")):
            if not texts.get(name):
                raise BadInput(where=where, key=name, value=texts.get(name), expected=expected)
        source = texts.get("pin-source")
        return cls(
            module=_absolute(where, "module-path", texts["module-path"]),
            token=texts["token"],
            serial=texts.get("serial"),
            manufacturer=texts.get("manufacturer"),
            model=texts.get("model"),
            id=found.get("id"),
            pin_source=None if source is None else _absolute(where, "pin-source", source),
            object=texts.get("object"),
        )

    def __str__(self) -> str:
        """The URI; parsing it gives the same again."""
        named = {
            "token": self.token.encode(),
            "serial": (self.serial or "").encode(),
            "manufacturer": (self.manufacturer or "").encode(),
            "model": (self.model or "").encode(),
            "object": (self.object or "").encode(),
        }
        path = ";".join(f"{k}={quote(v, safe=_PLAIN)}" for k, v in named.items() if v)
        if self.id:
            path += ";id=" + "".join(f"%{octet:02x}" for octet in self.id)
        query = f"module-path={quote(str(self.module), safe=_PLAIN)}"
        if self.pin_source is not None:
            query += f"&pin-source=file:{quote(str(self.pin_source), safe=_PLAIN)}"
        return f"pkcs11:{path}?{query}"

    def means(self, state: TokenState) -> bool:
        """Whether a slot's token is the one that is named, by everything that is named of it."""
        return (
            state.initialised
            and state.label == self.token
            and self.serial in (None, state.serial)
            and self.manufacturer in (None, state.manufacturer)
            and self.model in (None, state.model)
        )


def _text(where: str, name: str, found: dict[str, bytes]) -> str:
    text = utf8(found, name, where=where) or ""
    if not text.isprintable():
        raise BadInput(where=where, key=name, value=text, expected="printable signs")
    return text


def _absolute(where: str, name: str, text: str) -> Path:
    bare = text.removeprefix("file://").removeprefix("file:") if name == "pin-source" else text
    if not bare.startswith("/"):
        shown = "(hidden)" if name == "pin-source" else text  # it may be the PIN itself
        raise BadInput(where=where, key=name, value=shown, expected="an absolute path")
    return Path(bare)
