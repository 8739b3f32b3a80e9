"""A finished emulator image: one directory of files that belong together and never change.

::

    image.json       what this is: format, profile, recipe, versions, sha256 of every other file
    flash.bin        BL1 at 0, FIP at 0x40000; a box's hardware unique key goes to 0x3F000
    kernel           arm64 Image
    initrd.cpio      uncompressed; what is per box is appended as a second archive
    root.ext4        the box's disk as delivered, sparse
    cmdline          the kernel's command line
    tee.elf          OP-TEE's core with symbols, and golden.json what it must measure
    devkit/          OP-TEE's TA development kit; ta_key.pem (0600) signs TAs for this image
    manifest.json    CycloneDX: packages, sources, licences, flags, tools
    rot_key.pem      (0600) the root of trust of the boot chain

The digest that names an image is the SHA-256 of its image.json in canonical form, so it stands for
every byte of the image.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from emulator.stages import digest_of
from harness.errors import RigError

FORMAT = 1
INDEX = "image.json"
SECRET_FILES = ("ta_key.pem", "rot_key.pem")


@dataclass(frozen=True, slots=True)
class Image:
    """What the rest of the emulator needs to know of an image. ``golden_tee`` has 32 bytes."""

    directory: Path
    digest: str
    profile: str
    optee_version: str
    golden_tee: bytes
    cmdline: str
    bootcmd: str
    recipe: str

    @classmethod
    def load(cls, directory: Path) -> Image:
        """The image in ``directory``. Raises RigError when it is none, or of another format.

        Quick: looks at what image.json says, not at every byte (see emulator/bundle.py for that).
        """
        try:
            text = (directory / INDEX).read_text()
            index = json.loads(text)
            if index["format"] != FORMAT:
                raise RigError(
                    f"{directory} holds an emulator image of format {index['format']!r}, this"
                    f" program knows format {FORMAT}",
                    hint="Build or import the image again with this version.",
                )
            golden = json.loads((directory / "golden.json").read_text())
            image = cls(
                directory=directory,
                digest=digest_of(index),
                profile=str(index["profile"]),
                optee_version=str(index["optee_version"]),
                golden_tee=bytes.fromhex(golden["tee_memory_sha256"]),
                cmdline=(directory / "cmdline").read_text().strip(),
                bootcmd=str(index["bootcmd"]),
                recipe=str(index["recipe"]),
            )
            lacking = sorted(n for n in index["files"] if not (directory / n).is_file())
        except (OSError, ValueError, KeyError, TypeError) as unreadable:
            raise RigError(
                f"{directory} is not a whole emulator image: {unreadable}",
                hint="Delete that directory and build or import the image again.",
            ) from unreadable
        if lacking:
            raise RigError(
                f"the emulator image in {directory} lacks {lacking[0]}",
                hint="Delete that directory and build or import the image again.",
            )
        return image

    @property
    def flash(self) -> Path:
        return self.directory / "flash.bin"

    @property
    def kernel(self) -> Path:
        return self.directory / "kernel"

    @property
    def initrd(self) -> Path:
        return self.directory / "initrd.cpio"

    @property
    def root(self) -> Path:
        return self.directory / "root.ext4"

    @property
    def tee_elf(self) -> Path:
        return self.directory / "tee.elf"

    @property
    def devkit(self) -> Path:
        return self.directory / "devkit"

    @property
    def ta_key(self) -> Path:
        return self.directory / "ta_key.pem"

    @property
    def manifest(self) -> Path:
        return self.directory / "manifest.json"
