"""Output that the helper made smaller for a serial line: LZMA2 chunks (``harness/agent/pack.h``).

A chunk's plain size is told beside it and bounds what it may become: a box cannot fill the memory
of the host with a few bytes.
"""

from __future__ import annotations

import lzma
import struct

from harness.errors import BadFrame

MOST_PLAIN = 16 * 1024
NEW_DICTIONARY = 0xE0
FILTERS = ({"id": lzma.FILTER_LZMA2, "dict_size": 64 * 1024},)
_SIZE = struct.Struct("<I")


class Unpacker:
    """One program's chunks, in their order."""

    def __init__(self) -> None:
        self._decoder: lzma.LZMADecompressor | None = None

    def take(self, payload: bytes) -> bytes:
        """What a packed frame carries, at most 16 KiB. Raises BadFrame."""
        size = _SIZE.unpack_from(payload)[0] if len(payload) > _SIZE.size else 0
        if not 0 < size <= MOST_PLAIN:
            raise BadFrame(f"the helper sent a packed frame of {size} bytes")
        chunk = payload[_SIZE.size :]
        if chunk[0] >= NEW_DICTIONARY:
            self._decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS)
        if self._decoder is None:
            raise BadFrame("the helper sent a packed frame that goes on with nothing")
        try:
            plain = self._decoder.decompress(chunk, max_length=size + 1)
        except (lzma.LZMAError, EOFError) as problem:
            raise BadFrame(f"the helper sent a packed frame that is broken: {problem}") from problem
        if len(plain) != size or self._decoder.eof or not self._decoder.needs_input:
            raise BadFrame(f"a packed frame of {size} bytes became {len(plain)}")
        return plain
