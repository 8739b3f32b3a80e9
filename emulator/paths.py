"""Where the emulator keeps what it built: one directory that may be deleted at any time.

::

    <cache>/images/<digest>/      finished images, never changed after they appear
    <cache>/images/by-recipe/     which finished image a recipe gave
    <cache>/build/                downloads and intermediate results of the image build
    <cache>/boxes/<serial>/       emulated boxes (see emulator/store.py)
"""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_root() -> Path:
    """The cache directory: ``$TRUSTBOX_CACHE``, else the user's own (XDG). It may not exist yet."""
    chosen = os.environ.get("TRUSTBOX_CACHE")
    return Path(chosen).absolute() if chosen else platformdirs.user_cache_path("trustbox")


def images_dir() -> Path:
    return cache_root() / "images"


def build_dir() -> Path:
    return cache_root() / "build"
