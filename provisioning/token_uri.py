"""``pkcs11:`` URIs (RFC 7512): which token, by which module, and where its PIN is. Pure.

::

    pkcs11:token=Line%20CA;serial=0042?module-path=/usr/lib/libhsm.so&pin-source=file:/etc/pin

A PIN itself is never in one here: URIs stand on command lines and in files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote_to_bytes

from harness.errors import BadInput
from provisioning.token_state import TokenState

_PATH = ("token", "serial", "manufacturer", "model", "id")
_QUERY = ("module-path", "pin-source")
_RFC = frozenset({*_PATH, *_QUERY, "object", "type", "slot-id", "module-name"})
_ENCODED = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|&]|%[0-9A-Fa-f]{2})*")
_PLAIN = ":[]@!$'()*+,=/"


@dataclass(frozen=True, slots=True)
class TokenUri:
    """``module`` and ``pin_source`` are absolute paths; ``id`` names a key by its CKA_ID."""

    module: Path
    token: str
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    id: bytes | None = None
    pin_source: Path | None = None

    @classmethod
    def parse(cls, text: str, *, where: str) -> Self:
        """Raises BadInput, naming the attribute. ``pin-value`` is refused and never quoted."""
        scheme, _, rest = text.partition(":")
        path, _, query = rest.partition("?")
        if scheme != "pkcs11":
            expected = "a URI that begins with pkcs11: (RFC 7512)"
            raise BadInput(where=where, key="the token", value="(another text)", expected=expected)
        found = _attributes(where, path, ";", _PATH) | _attributes(where, query, "&", _QUERY)
        if "id" in found and not found["id"]:
            raise BadInput(where=where, key="id", value="", expected="at least one octet")
        texts = {name: _text(where, name, value) for name, value in found.items() if name != "id"}
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
        )

    def __str__(self) -> str:
        """The URI; parsing it gives the same again."""
        named = {
            "token": self.token.encode(),
            "serial": (self.serial or "").encode(),
            "manufacturer": (self.manufacturer or "").encode(),
            "model": (self.model or "").encode(),
            "id": self.id or b"",
        }
        path = ";".join(f"{k}={quote(v, safe=_PLAIN)}" for k, v in named.items() if v)
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


def _attributes(where: str, text: str, between: str, known: tuple[str, ...]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for part in text.split(between) if text else ():
        name, equals, value = part.partition("=")
        if name == "pin-value":
            expected = "no PIN in a URI; name a file with pin-source=file:/path"
            raise BadInput(where=where, key=name, value="(hidden)", expected=expected)
        if name not in known or not equals:
            expected = "no such attribute; known are " + ", ".join(known)
            # What is neither named nor an attribute of RFC 7512 2.3 may be a PIN.
            shown = name[:40] if name and (equals or name in _RFC) else "the URI"
            raise BadInput(where=where, key=shown, value="…", expected=expected)
        if name in found:
            raise BadInput(where=where, key=name, value="(not shown)", expected="it once")
        if not _ENCODED.fullmatch(value):
            raise BadInput(where=where, key=name, value="(not shown)", expected="it %-encoded")
        found[name] = unquote_to_bytes(value)
    return found


def _text(where: str, name: str, value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise BadInput(where=where, key=name, value=value, expected="UTF-8") from None
    if not text.isprintable():
        raise BadInput(where=where, key=name, value=text, expected="printable signs")
    return text


def _absolute(where: str, name: str, text: str) -> Path:
    bare = text.removeprefix("file://").removeprefix("file:") if name == "pin-source" else text
    if not bare.startswith("/"):
        shown = "(hidden)" if name == "pin-source" else text  # it may be the PIN itself
        raise BadInput(where=where, key=name, value=shown, expected="an absolute path")
    return Path(bare)
