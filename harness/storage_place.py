"""Whether what is written at a path of the box is still there after a power cut. Pure.

Read from mountinfo (proc_pid_mountinfo(5)) of the process that writes there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

IN_RAM = frozenset({"tmpfs", "ramfs", "rootfs", "devtmpfs"})
"""File systems that are gone when the power is."""
ON_DISK = frozenset(
    {
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jffs2", "ubifs", "nilfs2", "vfat"),
        *("exfat", "bcachefs", "nfs", "nfs4", "9p", "virtiofs", "cifs"),
    }
)
"""Those that keep what they are given, if what they lie on does."""
_RAM_DEVICE = re.compile(r"/dev/(?:ram|zram)[0-9]{1,4}", re.ASCII)
_LOOP_DEVICE = re.compile(r"/dev/(loop[0-9]{1,4})", re.ASCII)
_OCTAL = re.compile(r"\\([0-7]{3})")
_DEEPEST = 4
"""File systems that lie in one another: an overlay, a loop device's file."""


@dataclass(frozen=True, slots=True)
class StoragePlace:
    """``lasts`` None: it is not known, for ``why``. ``why`` is a clause without the path."""

    path: str
    lasts: bool | None
    why: str


@dataclass(frozen=True, slots=True)
class _Mount:
    point: str
    kind: str
    source: str
    options: Mapping[str, str]


def place_of(path: str, mountinfo: Sequence[str], loops: Mapping[str, str]) -> StoragePlace:
    """``path`` has no symbolic links in it. ``loops``: loop device → the file that it shows."""
    mounts = [mount for line in mountinfo if (mount := _parsed(line))]
    lasts, why = _judged(path, mounts, loops, _DEEPEST)
    return StoragePlace(path, lasts, why)


def _judged(
    path: str, mounts: Sequence[_Mount], loops: Mapping[str, str], depth: int
) -> tuple[bool | None, str]:
    mount = _over(path, mounts)
    if mount is None or depth == 0:
        return None, "the file system under it is not known"
    if mount.kind in IN_RAM:
        return False, f"it is on {mount.kind}, in the box's RAM"
    if mount.kind == "overlay":
        upper = mount.options.get("upperdir")
        if upper is None:
            return None, "it is on an overlay that cannot be written"
        if _over(upper, mounts) is mount:
            # A path of the time when it was mounted, with another root than now.
            return (
                None,
                f"it is on an overlay, and where its upper directory {upper} lies is hidden",
            )
        lasts, why = _judged(upper, mounts, loops, depth - 1)
        return lasts, f"it is on an overlay, of whose upper directory: {why}"
    if _RAM_DEVICE.fullmatch(mount.source):
        return False, f"it is on {mount.source}, in the box's RAM"
    if loop := _LOOP_DEVICE.fullmatch(mount.source):
        if (behind := loops.get(loop[1])) is None:
            return None, f"it is on {mount.source}, whose file is not known"
        lasts, why = _judged(behind, mounts, loops, depth - 1)
        return lasts, f"it is in the file {behind}, of which: {why}"
    if mount.kind in ON_DISK:
        return True, f"it is on {mount.kind} ({mount.source})"
    return None, f"it is on {mount.kind}, of which nobody here knows whether it lasts"


def _over(path: str, mounts: Sequence[_Mount]) -> _Mount | None:
    """The mount that shows ``path``: the longest, and of several there the last, which hides the
    others."""
    over = [mount for mount in mounts if _below(path, mount.point)]
    longest = max((len(mount.point) for mount in over), default=0)
    return next((mount for mount in reversed(over) if len(mount.point) == longest), None)


def _below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")


def _parsed(line: str) -> _Mount | None:
    """``36 35 98:0 /root /point options - kind source superblock-options``."""
    first, dash, second = line.partition(" - ")
    before, after = first.split(" "), second.split(" ")
    if not dash or len(before) < 6 or len(after) < 3:
        return None
    pairs = (word.partition("=") for word in after[2].split(","))
    options = {name: _plain(value) for name, _, value in pairs}
    return _Mount(posixpath.normpath(_plain(before[4])), after[0], _plain(after[1]), options)


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)
