"""Operation parameters of the GlobalPlatform TEE Client API 1.0 (4.3.7), and their wire form.

::

    u32 type, then   VALUE: u32 a, u32 b   MEMREF in, inout: u32 size, bytes   MEMREF out: u32 size
    in a result only out and inout carry something; MEMREF: u32 size, u32 length, bytes
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum

from harness.errors import BadFrame, Misuse, TeeRefused
from harness.tee_codes import SUCCESS, name_of

PARAMS = 4
MOST_SHARED = 1024 * 1024
_U32 = 1 << 32


class Direction(Enum):
    """Seen from the host; the numbers are the low bits of the kernel's parameter types."""

    IN = 1
    OUT = 2
    INOUT = 3


@dataclass(frozen=True, slots=True)
class Value:
    """Two 32-bit numbers."""

    a: int = 0
    b: int = 0
    direction: Direction = Direction.IN


@dataclass(frozen=True, slots=True)
class Memref:
    """Memory that both worlds see: its bytes, or how many there are (zeros at first).

    In a result ``data`` is the bytes that the TEE gave back, or the number of bytes it needs when
    there was too little room (TEE_ERROR_SHORT_BUFFER).
    """

    data: bytes | int
    direction: Direction = Direction.IN

    @property
    def size(self) -> int:
        return self.data if isinstance(self.data, int) else len(self.data)


Param = Value | Memref


@dataclass(frozen=True, slots=True)
class TeeResult:
    """What came back, as it is: ``params`` has all four, None for those that were not given."""

    code: int
    origin: int
    params: tuple[Param | None, ...]

    def check(self, doing: str) -> TeeResult:
        """Itself when it is TEE_SUCCESS; raises TeeRefused otherwise, saying ``doing``."""
        if self.code != SUCCESS:
            raise TeeRefused(doing, self.code, self.origin, name=name_of(self.code))
        return self


def encode(params: tuple[Param | None, ...]) -> bytes:
    """None: a parameter that is left out. Raises Misuse for more than four, or too big."""
    if len(params) > PARAMS:
        raise Misuse(f"a TEE call has at most {PARAMS} parameters, not {len(params)}")
    total = sum((p.size + 63) // 64 * 64 for p in params if isinstance(p, Memref))
    if total > MOST_SHARED:
        raise Misuse(
            f"the memory references of one TEE call have {total} bytes, at most {MOST_SHARED} fit"
        )
    return b"".join(_encode_one(p) for p in params) + bytes(4 * (PARAMS - len(params)))


def _encode_one(param: Param | None) -> bytes:
    if param is None:
        return bytes(4)
    if isinstance(param, Value):
        if not (0 <= param.a < _U32 and 0 <= param.b < _U32):
            raise Misuse(f"the values {param.a} and {param.b} do not both fit 32 bits")
        return struct.pack("<III", param.direction.value, param.a, param.b)
    if param.size < 0:
        raise Misuse("a memory reference cannot have a negative size")
    head = struct.pack("<II", 4 + param.direction.value, param.size)
    if param.direction is Direction.OUT:
        return head
    return head + (bytes(param.data) if isinstance(param.data, int) else param.data)


def decode(payload: bytes, sent: tuple[Param | None, ...]) -> tuple[Param | None, ...]:
    """A result's parameters; those that only went in come back as they were sent.

    Raises BadFrame when they do not fit what was sent.
    """
    reader = _Reader(payload)
    found: list[Param | None] = []
    for index in range(PARAMS):
        given = sent[index] if index < len(sent) else None
        kind = reader.number()
        if kind != _kind(given):
            raise BadFrame(f"the helper answered a parameter of type {kind}, not {_kind(given)}")
        found.append(_decode_one(reader, given))
    reader.end()
    return tuple(found)


def _kind(param: Param | None) -> int:
    if param is None:
        return 0
    return param.direction.value + (4 if isinstance(param, Memref) else 0)


def _decode_one(reader: _Reader, given: Param | None) -> Param | None:
    if given is None or given.direction is Direction.IN:
        return given
    if isinstance(given, Value):
        return Value(reader.number(), reader.number(), given.direction)
    size, length = reader.number(), reader.number()
    data = reader.octets(length)
    if size > given.size:
        return Memref(size, given.direction)
    if length != size:
        raise BadFrame(f"the helper gave {length} bytes of a memory reference of {size}")
    return Memref(data, given.direction)


class _Reader:
    """Takes a payload apart from its front; BadFrame when it is too short or too long."""

    def __init__(self, payload: bytes) -> None:
        self._payload, self._at = payload, 0

    def octets(self, count: int) -> bytes:
        taken = self._payload[self._at : self._at + count]
        if len(taken) != count:
            raise BadFrame("the helper's answer ends too soon")
        self._at += count
        return taken

    def number(self) -> int:
        return int.from_bytes(self.octets(4), "little")

    def end(self) -> None:
        if self._at != len(self._payload):
            raise BadFrame("the helper's answer is too long")
