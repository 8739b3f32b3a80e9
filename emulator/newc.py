"""cpio archives in the kernel's "newc" form, made in memory: what a box is told on its first boot.

The kernel unpacks several archives that follow each other in one initrd, so the files of one box
are appended to the image's own initrd (Linux, early-userspace/buffer-format.rst).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_DIRECTORY = 0o040755
_REGULAR = 0o100000


@dataclass(frozen=True, slots=True)
class Entry:
    """One regular file: its bytes and its permission bits."""

    data: bytes
    mode: int = 0o600


def archive(files: Mapping[str, Entry]) -> bytes:
    """The archive of ``files`` (path without a leading slash → entry), owned by root, dated 1970.

    Missing directories are made. The same files always give the same bytes; the length is a
    multiple of 512, so that archives can be joined.
    """
    out = bytearray()
    for number, (path, mode, data) in enumerate(_with_directories(files), start=1):
        out += _record(path, mode, data, number)
    out += _record("TRAILER!!!", 0, b"", 0)
    return bytes(out) + bytes(-len(out) % 512)


def _with_directories(files: Mapping[str, Entry]) -> Iterator[tuple[str, int, bytes]]:
    made: set[str] = set()
    for path in sorted(files):
        parents = path.split("/")[:-1]
        for depth in range(1, len(parents) + 1):
            directory = "/".join(parents[:depth])
            if directory not in made:
                made.add(directory)
                yield directory, _DIRECTORY, b""
        yield path, _REGULAR | files[path].mode, files[path].data


def _record(path: str, mode: int, data: bytes, number: int) -> bytes:
    name = path.encode() + b"\0"
    links = 0 if mode == 0 else 1
    fields = (number, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    padded = header + bytes(-len(header) % 4)
    return padded + data + bytes(-len(data) % 4)
