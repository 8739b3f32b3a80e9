"""Link frames: their fields, checked. Pure; ``harness/agent/uart_frame.h`` tells what they mean."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from harness.uart_codec import encode

HEAD = struct.Struct("<BIHHII")
CRC = struct.Struct("<I")
RANGE = struct.Struct("<II")
MOST_PAYLOAD = 1024
FROM_BOX = 0x40
PUSH = 0x80


class LinkKind(IntEnum):
    DATA = 1
    ACK = 2
    RESET = 3
    BYE = 4


@dataclass(frozen=True, slots=True)
class LinkFrame:
    """One frame. Offsets and acknowledgements count the stream's bytes modulo 2**32."""

    kind: LinkKind
    nonce: int
    tx: int = 0
    seen: int = 0
    ack: int = 0
    offset: int = 0
    payload: bytes = b""
    push: bool = False
    from_box: bool = False

    def line(self) -> bytes:
        """The frame as it goes over the line."""
        kind = self.kind | (PUSH if self.push else 0) | (FROM_BOX if self.from_box else 0)
        head = HEAD.pack(kind, self.nonce, self.tx, self.seen, self.ack, self.offset)
        body = head + self.payload
        return encode(body + CRC.pack(zlib.crc32(body)))

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """Of an ACK: begin and end of what arrived beyond a gap."""
        whole = len(self.payload) // RANGE.size * RANGE.size
        return list(RANGE.iter_unpack(self.payload[:whole]))


def parse(body: bytes) -> LinkFrame | None:
    """The frame in ``body``; None when its check sum or its kind is wrong."""
    if len(body) < HEAD.size + CRC.size:
        return None
    if zlib.crc32(body[: -CRC.size]) != CRC.unpack_from(body, len(body) - CRC.size)[0]:
        return None
    kind, nonce, tx, seen, ack, offset = HEAD.unpack_from(body)
    try:
        name = LinkKind(kind & 0x0F)
    except ValueError:
        return None
    return LinkFrame(
        name,
        nonce,
        tx,
        seen,
        ack,
        offset,
        body[HEAD.size : -CRC.size],
        bool(kind & PUSH),
        bool(kind & FROM_BOX),
    )
