"""The frames of the helper on the box, as ``harness/agent/agent.h`` defines them. Pure.

::

    u32 magic "TBA1" | u16 type | u16 0 | u32 request | u32 length | payload[length]
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from harness.errors import BadFrame

VERSION = 2
MAGIC = 0x31414254
HEADER = struct.Struct("<IIII")
MOST_PAYLOAD = 1024 * 1024 + 64 * 1024
INPUT_WINDOW = 256 * 1024
NO_INPUT = 0x80000000
"""In the argument count of SPAWN."""


class FrameType(IntEnum):
    PING = 1
    SPAWN = 2
    INPUT = 3
    CANCEL = 4
    TEE_VERSION = 5
    TEE_OPEN = 6
    TEE_INVOKE = 7
    TEE_CLOSE = 8
    HELLO = 0x80
    PONG = 0x81
    OUT = 0x82
    ERR = 0x83
    TAKEN = 0x84
    ENDED = 0x85
    TEE_RESULT = 0x86
    TEE_IS = 0x87
    REFUSED = 0x88
    OUT_PACKED = 0x89
    ERR_PACKED = 0x8A


class Ending(IntEnum):
    EXIT = 0
    SIGNAL = 1
    NOT_STARTED = 2
    LIMIT = 3


class Refusal(IntEnum):
    FRAME = 1
    TYPE = 2
    PAYLOAD = 3
    BUSY = 4
    SESSION = 5
    SIZE = 6
    SYSTEM = 7


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. ``numbers`` reads leading 32-bit numbers of its payload."""

    type: FrameType
    request: int
    payload: bytes = b""

    def encode(self) -> bytes:
        return HEADER.pack(MAGIC, self.type, self.request, len(self.payload)) + self.payload

    def numbers(self, count: int) -> tuple[int, ...]:
        """Raises BadFrame when the payload is shorter than that."""
        if len(self.payload) < 4 * count:
            raise BadFrame(f"the helper's {self.type.name} frame is too short")
        return struct.unpack_from(f"<{count}I", self.payload)


class FrameReader:
    """Puts frames together from bytes as they come; refuses whatever is not a frame."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> None:
        self._bytes += data

    def next(self) -> Frame | None:
        """The next whole frame, None when more bytes are needed. Raises BadFrame."""
        if len(self._bytes) < HEADER.size:
            return None
        magic, kind, request, length = HEADER.unpack_from(self._bytes)
        if magic != MAGIC:
            shown = bytes(self._bytes[:32])
            raise BadFrame(f"something else than the helper's frames arrived: {shown!r}")
        if length > MOST_PAYLOAD:
            raise BadFrame(f"the helper announced a frame of {length} bytes")
        if kind not in FrameType.__members__.values():
            raise BadFrame(f"the helper sent a frame of the unknown type {kind}")
        if len(self._bytes) < HEADER.size + length:
            return None
        payload = bytes(self._bytes[HEADER.size : HEADER.size + length])
        del self._bytes[: HEADER.size + length]
        return Frame(FrameType(kind), request, payload)
