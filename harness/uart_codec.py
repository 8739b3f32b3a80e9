"""Link frames among other text on a serial line, as ``harness/agent/uart_frame.h`` defines them.

::

    STX (02) | body, 7 bits a byte, each with its high bit set | ETX (03)

Log lines are ASCII: bytes of them that land inside a frame are told from it by their class, and
both come out whole. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

STX, ETX = b"\x02", b"\x03"
MOST_BODY = 17 + 1024 + 4
MOST_CODED = MOST_BODY + (MOST_BODY + 6) // 7
LEAST_STRAY = 4
"""High bytes in a row that are no UTF-8 text, from that many on, are part of a broken frame."""

_TOKENS = re.compile(rb"[\x80-\xff]+|[^\x80-\xff\x02\x03]+|\x02|\x03")
_RAISE = bytes(value | 0x80 for value in range(256))
_LOWER = bytes(value & 0x7F for value in range(256))
_TO_DIGIT = bytes(ord("1" if value & 0x80 else "0") for value in range(256))
_SPREAD = [
    bytes(0x80 if value >> shift & 1 else 0 for shift in range(6, -1, -1)) for value in range(256)
]


def encode(body: bytes) -> bytes:
    """``body`` as a frame of the line, its two ends included."""
    digits = body.translate(_TO_DIGIT)
    digits += b"0" * (-len(body) % 7)
    groups = [b"1" + digits[at : at + 7] for at in range(0, len(digits), 7)]
    high = int(b"".join(groups), 2).to_bytes(len(groups), "big") if groups else b""
    return STX + body.translate(_RAISE) + high + ETX


def decode(coded: bytes) -> bytes | None:
    """The body between STX and ETX; None when its length cannot be right."""
    size = len(coded) * 7 // 8
    if not size or size + (size + 6) // 7 != len(coded):
        return None
    low = int.from_bytes(coded[:size].translate(_LOWER), "big")
    high = int.from_bytes(b"".join([_SPREAD[value] for value in coded[size:]])[:size], "big")
    return (low | high).to_bytes(size, "big")


class Sieve:
    """Parts what arrives into frames and everything else; keeps what is not finished."""

    def __init__(self) -> None:
        self._inside = False
        self._coded = bytearray()
        self._stray = bytearray()
        self.broken = 0
        """Pieces of frames so far that cannot be put together."""
        self.mixed = 0
        """Times that other text stood inside a frame."""

    def feed(self, data: bytes) -> tuple[bytes, list[bytes]]:
        """The text in ``data``, and the bodies of frames that ended in it."""
        if not self._inside and not self._stray and data.isascii() and not _ends(data):
            return data, []
        text: list[bytes] = []
        frames: list[bytes] = []
        for token in _TOKENS.findall(data):
            if token[0] & 0x80:
                self._take(token)
            elif token == STX:
                self._abandon()
                text += self._settled()
                self._inside = True
            elif token == ETX:
                text += self._end(frames)
            else:
                text += self._settled()
                self.mixed += self._inside and bool(self._coded)
                text.append(token)
        return b"".join(text), frames

    def rest(self) -> bytes:
        """The line ended: what was held back as it might have been a frame's."""
        return b"".join(self._settled())

    def _take(self, token: bytes) -> None:
        if self._inside and len(self._coded) + len(token) <= MOST_CODED:
            self._coded += token
            return
        self._abandon()
        if len(self._stray) < 2 * MOST_CODED:
            self._stray += token

    def _end(self, frames: list[bytes]) -> Iterator[bytes]:
        if not self._inside:
            if self._stray:  # a frame that lost its beginning
                self._stray.clear()
                self.broken += 1
            else:
                yield ETX
            return
        body = decode(bytes(self._coded))
        self._inside = False
        self._coded.clear()
        if body is None:
            self.broken += 1
        else:
            frames.append(body)

    def _abandon(self) -> None:
        self.broken += self._inside and bool(self._coded)
        self._inside = False
        self._coded.clear()

    def _settled(self) -> Iterator[bytes]:
        """High bytes outside of frames: text, or a piece of a frame, which may hold secrets."""
        if not self._stray:
            return
        stray = bytes(self._stray)
        self._stray.clear()
        if len(stray) < LEAST_STRAY or _is_text(stray):
            yield stray
        else:
            self.broken += 1
            yield b"<%d bytes of a frame>" % len(stray)


def _ends(data: bytes) -> bool:
    return STX in data or ETX in data


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
