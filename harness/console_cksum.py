"""The check sum of POSIX ``cksum``, which every box has: CRC-32 with its length appended. Pure."""

from __future__ import annotations

POLYNOMIAL = 0x04C11DB7


def _entry(index: int) -> int:
    value = index << 24
    for _ in range(8):
        value = value << 1 ^ (POLYNOMIAL if value & 0x80000000 else 0)
    return value & 0xFFFFFFFF


_TABLE = [_entry(index) for index in range(256)]


def cksum(data: bytes) -> tuple[int, int]:
    """The number and the size as ``cksum`` prints them (POSIX.1-2017, cksum)."""
    crc = 0
    size = len(data)
    tail = size.to_bytes((size.bit_length() + 7) // 8, "little")
    for byte in data + tail:
        crc = crc << 8 & 0xFFFFFFFF ^ _TABLE[crc >> 24 ^ byte]
    return crc ^ 0xFFFFFFFF, size
