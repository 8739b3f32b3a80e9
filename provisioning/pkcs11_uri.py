"""The one parser of ``pkcs11:`` URIs (RFC 7512). Pure; who takes which attributes is the caller's.

URIs come as p11tool, pkcs11-tool and people write them. No error quotes a value: it may be a PIN.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from urllib.parse import unquote_to_bytes

from harness.errors import BadInput
from harness.shown import HIDDEN

SCHEME = "pkcs11:"
_PATH = frozenset(
    {
        *("token", "serial", "manufacturer", "model", "id", "object", "type"),
        *("slot-id", "slot-description", "slot-manufacturer"),
        *("library-description", "library-manufacturer", "library-version"),
    }
)
_QUERY = frozenset({"module-path", "module-name", "pin-source", "pin-value"})
_ENCODED = re.compile(r"(?:[A-Za-z0-9\-._~:\[\]@!$'()*+,=/?|&]|%[0-9A-Fa-f]{2})*")
_TYPED_ID = re.compile(r"[:;]id=((?:[0-9A-Fa-f]{2})+)(?=;|\Z)")


def is_uri(text: str) -> bool:
    """Whether this is one at all; a scheme's case does not count (RFC 3986 3.1)."""
    return text[: len(SCHEME)].lower() == SCHEME


def attributes(text: str, known: Collection[str], *, where: str, key: str) -> dict[str, bytes]:
    """The attributes of a URI, decoded.

    Raises BadInput, naming ``where`` and the attribute, for one that is not ``known``, stands
    twice or is not %-encoded, and, naming ``key``, for a text that is no such URI.
    """
    if not is_uri(text):
        expected = "a URI that begins with pkcs11: (RFC 7512)"
        raise BadInput(where=where, key=key, value="(another text)", expected=expected)
    path, asked, query = text[len(SCHEME) :].partition("?")
    found: dict[str, bytes] = {}
    for part in path.split(";") if path else ():
        _add(found, part, _PATH, known, where)
    for part in query.split("&") if asked else ():
        _add(found, part, _QUERY, known, where)
    return found


def utf8(found: dict[str, bytes], name: str, *, where: str) -> str | None:
    """The text of an attribute; None when it is not there. Raises BadInput."""
    if name not in found:
        return None
    try:
        return found[name].decode()
    except UnicodeDecodeError:
        raise BadInput(where=where, key=name, value=HIDDEN, expected="UTF-8") from None


def check_typed(text: str, *, where: str) -> None:
    """Raises BadInput for ``id=0102``, from whoever types it: two octets, or four letters?

    Not for a URI that is kept: what it meant yesterday it means today.
    """
    found = _TYPED_ID.search(text.partition("?")[0])
    if found:
        raise BadInput(
            where=where,
            key="id",
            value=found[1],
            expected=f"{_each(bytes.fromhex(found[1]))} for these octets, or"
            f" {_each(found[1].encode())} for these letters",
        )


def _add(
    found: dict[str, bytes], part: str, here: frozenset[str], known: Collection[str], where: str
) -> None:
    name, equals, value = part.partition("=")
    if name == "pin-value" and name not in known:
        expected = "no PIN in a URI; name a file with pin-source=file:/path"
        raise BadInput(where=where, key=name, value=HIDDEN, expected=expected)
    if name not in here or name not in known or not equals:
        expected = "no such attribute; known are " + ", ".join(known)
        # What is neither named nor an attribute of RFC 7512 2.3 may be a PIN.
        shown = name[:40] if name and (equals or name in _PATH | _QUERY) else "the URI"
        raise BadInput(where=where, key=shown, value="…", expected=expected)
    if name in found:
        raise BadInput(where=where, key=name, value="(not shown)", expected="it once")
    if not _ENCODED.fullmatch(value):
        raise BadInput(where=where, key=name, value="(not shown)", expected="it %-encoded")
    if name == "id" and not value:
        raise BadInput(where=where, key=name, value="", expected="at least one octet")
    found[name] = unquote_to_bytes(value)


def _each(octets: bytes) -> str:
    return "".join(f"%{octet:02x}" for octet in octets)
