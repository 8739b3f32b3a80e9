"""A disk that is nearly full, or that takes no more: for what must end in a sentence."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(at: Path, kib: int = 64) -> Iterator[Path]:
    """A file system of its own, of ``kib`` KiB, at the directory ``at``; gone afterwards."""
    at.mkdir(mode=0o700)
    argv = ["mount", "-t", "tmpfs", "-o", f"size={kib}k,mode=0700", "small", str(at)]
    made = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=10)
    if made.returncode:
        pytest.skip(f"a small disk cannot be mounted here (who may mount?): {made.stderr.strip()}")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True, timeout=10)


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """The small disk as the system leaves one after an I/O error."""
    _remount(disk, "ro")
    try:
        yield
    finally:
        _remount(disk, "rw")


def fill(disk: Path, leave: int = 0) -> None:
    """All of its room but about ``leave`` octets."""
    ballast = disk / ".ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - leave))


@contextmanager
def files_of_at_most(octets: int) -> Iterator[None]:
    """A file that grows beyond it takes the part that fits and then no more, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _remount(disk: Path, how: str) -> None:
    argv = ["mount", "-o", f"remount,{how}", str(disk)]
    subprocess.run(argv, check=True, capture_output=True, timeout=10)
