"""An image as one file: build once, use it in every CI job and in labs without a network.

A gzipped tar. Every name in it begins with ``trustbox-image-<digest>/``; image.json comes first and
names all other files with their SHA-256. That proves that the file arrived as it left, not who made
it: compare the digest with the one that ``export`` printed. It holds the image's TA signing key.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO

from emulator.build_lock import build_lock
from emulator.image import INDEX, SECRET_FILES, Image
from emulator.image_store import keep_image
from emulator.paths import build_dir, images_dir
from emulator.stages import digest_of, staging, sweep
from harness.deadline import Deadline
from harness.errors import BadInput, Misuse

_PREFIX = "trustbox-image-"
_INDEX_BYTES = 4 << 20
_FILE_BYTES = 2 << 30
_ALL_BYTES = 4 << 30
_BLOCK = 1 << 20
_WAIT_SECONDS = 1800.0
_HEX = re.compile(r"[0-9a-f]{64}")


def export_image(image: Image, file: Path) -> None:
    """Write ``image`` to ``file`` (0600: a signing key is inside), whole or not at all."""
    index = json.loads((image.directory / INDEX).read_text())
    handle, fresh = tempfile.mkstemp(dir=file.absolute().parent, prefix=f".{file.name}.")
    try:
        with (
            os.fdopen(handle, "wb") as out,
            tarfile.open(fileobj=out, mode="w:gz", compresslevel=3) as tar,
        ):
            for name in (INDEX, *sorted(index["files"])):
                tar.add(
                    image.directory / name,
                    arcname=f"{_PREFIX}{image.digest}/{name}",
                    recursive=False,
                    filter=_anonymous,
                )
        Path(fresh).replace(file)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise


def import_image(file: Path, *, progress: Callable[[str], None]) -> Image:
    """Check every byte of the exported ``file`` and put the image into the store.

    Raises Misuse when it cannot be read, BadInput for anything that ``export_image`` would not have
    written; then nothing is left.
    """
    try:
        stream = file.open("rb")
    except OSError as failed:
        raise Misuse(f"{file} cannot be read: {failed.strerror}") from failed
    build = build_dir()
    with stream, build_lock(build, Deadline.after(_WAIT_SECONDS), progress):
        sweep(build)
        staged = staging(build)
        try:
            progress(f"checking {file}")
            try:
                with tarfile.open(fileobj=stream, mode="r|gz") as tar:
                    _unpack(tar, staged, str(file))
            except (tarfile.TarError, zlib.error, EOFError, OSError) as broken:
                raise _bad(file, "content", str(broken), "an image made by export") from broken
            return keep_image(images_dir(), staged)
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def _unpack(tar: tarfile.TarFile, into: Path, where: str) -> None:
    wanted: dict[str, str] | None = None
    prefix, room = "", _ALL_BYTES
    for member in tar:
        room -= member.size
        if not member.isreg() or not 0 <= member.size <= _FILE_BYTES or room < 0:
            raise _bad(where, member.name, "not a file of a usual size", "regular files only")
        content = tar.extractfile(member)
        assert content is not None  # noqa: S101 - it is a regular file
        if wanted is None:
            prefix, wanted = _read_index(member, content, into, where)
            continue
        name = member.name.removeprefix(prefix)
        digest = wanted.pop(name, None) if member.name.startswith(prefix) else None
        if digest is None:
            raise _bad(where, member.name, "in the file", "only what image.json names, once")
        found = _write(content, into / name, member, secret=name in SECRET_FILES)
        if found != digest:
            raise _bad(where, name, f"SHA-256 {found}", f"SHA-256 {digest} as image.json says")
    if wanted is None or wanted:
        lacking = sorted(wanted)[0] if wanted else INDEX
        raise _bad(where, lacking, "not in the file", "a whole image")


def _read_index(
    member: tarfile.TarInfo, content: IO[bytes], into: Path, where: str
) -> tuple[str, dict[str, str]]:
    if not member.name.endswith("/" + INDEX) or member.size > _INDEX_BYTES:
        raise _bad(where, member.name, "the first file", f"a small {INDEX} first")
    text = content.read()
    try:
        index = json.loads(text)
        files = {str(name): str(digest) for name, digest in index["files"].items()}
        digest = digest_of(index)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as broken:
        raise _bad(where, INDEX, str(broken), "an image's description") from broken
    if member.name != f"{_PREFIX}{digest}/{INDEX}":
        raise _bad(where, INDEX, member.name, f"{_PREFIX}{digest}/{INDEX}, its own digest")
    for name, sha256 in files.items():
        path = PurePosixPath(name)
        plain = str(path) == name and name != INDEX and "\0" not in name and "\\" not in name
        if not plain or path.is_absolute() or ".." in path.parts or not _HEX.fullmatch(sha256):
            raise _bad(where, INDEX, name, "plain paths with a SHA-256 each")
    (into / INDEX).write_bytes(text)
    return f"{_PREFIX}{digest}/", files


def _write(content: IO[bytes], file: Path, member: tarfile.TarInfo, *, secret: bool) -> str:
    # The names come from a checked index in which no file is another's directory: mkdir and the
    # exclusive open below fail on anything else (OSError, told as a bad file).
    file.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    mode = 0o600 if secret else 0o755 if member.mode & 0o100 else 0o644
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as out:
        while block := content.read(_BLOCK):
            digest.update(block)
            if any(block):
                out.write(block)
            else:
                out.seek(len(block), os.SEEK_CUR)  # the disk stays sparse
        out.truncate(member.size)
    return digest.hexdigest()


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _bad(where: object, key: str, value: str, expected: str) -> BadInput:
    return BadInput(where=str(where), key=key, value=value, expected=expected)
