"""PEM as people have it (RFC 7468), read in one way for certificates, requests and keys. Pure.

Text before a block says nothing to anybody (``openssl -text``, "Bag Attributes", a comment with
accents), nor does a byte order mark or the kind of line ends. A block that was cut is refused: what
is whole beside it must not pass for all that was meant. So is text that is not UTF-8.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Callable
from dataclasses import dataclass

from harness.errors import BadInput

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Wrong = Callable[[str], BadInput]
"""Makes the error for what was found; it names the file and the expected form."""


@dataclass(frozen=True, slots=True)
class Block:
    """``label`` is what stands behind BEGIN; ``text`` the whole block, lines ended by LF."""

    label: str
    text: bytes


def is_der(octets: bytes) -> bool:
    """Whether this is a DER SEQUENCE of 128 octets or more (X.690 8.1.3.5), so no UTF-8 text."""
    return len(octets) > 1 and octets[0] == 0x30 and octets[1] >= 0x80


def blocks_of(octets: bytes, wrong: Wrong, *, whole: bool = False) -> tuple[Block, ...]:
    """The blocks, one at least. ``whole``: nothing may stand behind the last one.

    Raises what ``wrong`` makes for no block, one that was cut, and text of another encoding.
    """
    text = _decoded(octets, wrong)
    if not text.strip():
        raise wrong("(empty)")
    found, rest, last = [], [], 0
    for block in _BLOCK.finditer(text):
        rest.append(text[last : block.start()])
        last = block.end()
        found.append(Block(block[1], (block[0] + "\n").encode()))
    # OpenSSL and cryptography take what is whole and say nothing of the others.
    if any("-----BEGIN" in one or "-----END" in one for one in (*rest, text[last:])):
        raise wrong("(a PEM block that was cut)")
    if not found:
        raise wrong(
            "(base64 without its BEGIN and END lines)" if _is_bare(text) else "(other text)"
        )
    if whole and text[last:].strip():
        raise wrong("(other text after the last PEM block)")
    return tuple(found)


def only(found: tuple[Block, ...], labels: tuple[str, ...], wrong: Wrong) -> Block:
    """The one block that has one of the labels; those of another kind are passed over."""
    mine = [block for block in found if block.label in labels]
    if not mine:
        raise wrong(f"({', '.join(sorted({block.label for block in found}))})")
    if len(mine) > 1:
        raise wrong(f"({len(mine)} of them)")
    return mine[0]


def _decoded(octets: bytes, wrong: Wrong) -> str:
    if octets.startswith(_UTF_16):
        raise wrong("(UTF-16 text: save it as UTF-8)")
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise wrong("(text that is not UTF-8: save it so)") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_bare(text: str) -> bool:
    try:
        return is_der(base64.b64decode("".join(text.split()), validate=True))
    except (binascii.Error, ValueError):
        return False
