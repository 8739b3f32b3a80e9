"""Expensive intermediate results, kept by what they are made from.

A stage appears whole or not at all: it is made in a directory beside its place and renamed. What an
interrupted build left behind is swept by the next one, which holds the build lock.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

_STAGING = "staging-"


def digest_of(value: object) -> str:
    """SHA-256 (hex) of ``value`` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_files(root: Path, *patterns: str) -> dict[str, str]:
    """Path (relative to ``root``) → SHA-256 of each file that a pattern matches."""
    files = {file for pattern in patterns for file in root.glob(pattern) if file.is_file()}
    return {
        str(file.relative_to(root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(files)
        if "__pycache__" not in file.parts
    }


def staging(root: Path) -> Path:
    """A fresh private directory in ``root``, swept by the next build when this one dies."""
    root.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=_STAGING, dir=root))


def sweep(root: Path) -> None:
    """Remove what interrupted builds left in ``root``. Only for the holder of the build lock."""
    for left in root.glob(_STAGING + "*"):
        shutil.rmtree(left, ignore_errors=True)


def stage(
    root: Path, name: str, inputs: Mapping[str, object], make: Callable[[Path], None]
) -> Path:
    """The directory that ``make`` fills from ``inputs``: the kept one, or a new one."""
    place = root / f"{name}-{digest_of(inputs)[:32]}"
    if place.is_dir():
        return place
    fresh = staging(root)
    try:
        make(fresh)
        fresh.rename(place)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    for older in root.glob(f"{name}-*"):
        if older != place:
            shutil.rmtree(older, ignore_errors=True)
    return place
