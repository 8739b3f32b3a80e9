"""The store of finished images, and which of them a recipe gave."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from emulator.flags import BOOTCMD
from emulator.image import FORMAT, Image
from emulator.packages import FIRMWARE, KERNEL, SOURCES
from emulator.profiles import Profile
from emulator.stages import digest_of, digest_of_files
from harness.errors import RigError

_PROGRAM = (
    "archive.py", "flags.py", "golden.py", "image_build.py", "initramfs.py", "manifest.py",
    "optee_build.py", "packages.py", "rootfs.py", "tfa_build.py", "xtest_tas.py", "init/**/*",
    "optee/**/*",
)  # fmt: skip


def recipe_digest(profile: Profile) -> str:
    """What decides an image apart from the archive's state: our own sources, choices and flags."""
    return digest_of(
        {
            "format": FORMAT,
            "profile": profile.recipe,
            "boot": BOOTCMD,
            "packages": [FIRMWARE, KERNEL, SOURCES],
            "program": digest_of_files(Path(__file__).parent, *_PROGRAM),
        }
    )


def find_image(images: Path, recipe: str) -> Image | None:
    """The image that ``recipe`` gave here; None when there is none (any more). Asks no network."""
    pointer = images / "by-recipe" / recipe
    try:
        return Image.load(images / pointer.read_text().strip())
    except (FileNotFoundError, NotADirectoryError, RigError):
        return None


def keep_image(images: Path, staged: Path) -> Image:
    """Move a whole image from ``staged`` (same file system) to its place; remember its recipe."""
    image = Image.load(staged)
    place = images / image.digest
    images.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        try:
            Image.load(place)
        except RigError:
            shutil.rmtree(place)
    if place.is_dir():
        shutil.rmtree(staged)
    else:
        staged.rename(place)
    pointers = images / "by-recipe"
    pointers.mkdir(exist_ok=True)
    fresh = pointers / f".{image.recipe}.{os.getpid()}"
    fresh.write_text(image.digest + "\n")
    fresh.replace(pointers / image.recipe)
    return Image.load(place)


def write_index(directory: Path, facts: dict[str, object]) -> str:
    """Write image.json over every file in ``directory``; returns the image's digest."""
    files = {
        str(file.relative_to(directory)): sha256_of(file)
        for file in sorted(directory.rglob("*"))
        if file.is_file()
    }
    index = {"format": FORMAT, **facts, "files": files}
    (directory / "image.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
    return digest_of(index)


def sha256_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
