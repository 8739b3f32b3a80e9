"""``trustbox emulator build | export | import``: the image that emulated boxes run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from emulator.build import ensure_image
from emulator.bundle import export_image, import_image
from emulator.image import Image
from emulator.image_store import find_image, recipe_digest
from emulator.paths import images_dir
from emulator.profiles import CURRENT, PROFILES, profile_named
from harness.errors import Misuse

Profile = Annotated[
    str,
    typer.Option(
        help="Which box: current is OP-TEE 4.10 with everything this project uses, shipped is what"
        " boxes in the field have today."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("build")(build)
    app.command("export")(export)
    app.command("import")(import_)


def build(
    profile: Profile = CURRENT.name,
    archive: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="A Debian mirror instead of the one this host's apt uses (needed on hosts that"
            " are not Debian).",
        ),
    ] = "",
    refresh: Annotated[
        bool, typer.Option(help="Look for newer packages even when an image is there.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build the emulator image, unless this version of the project already did.

    Fetches Debian packages and sources (about 120 MB, signatures checked), builds OP-TEE and TF-A
    with keys of its own and makes a disk: two minutes or so, once. Needs no root. Interrupt it as
    you like: what was fetched and built is used again. The result is in the user's cache directory;
    manifest.json beside it says what is inside.

    \b
    trustbox emulator build
    trustbox emulator build --archive https://mirror.example/archive --json
    """
    began = time.monotonic()
    image = ensure_image(profile, archive=archive or None, progress=_progress(), refresh=refresh)
    _tell(image, as_json, seconds=round(time.monotonic() - began, 1))


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write it (tar.gz).")],
    profile: Profile = CURRENT.name,
    as_json: Json = False,
) -> None:
    """Write the built image with its manifest to one file, for machines that cannot build.

    The file holds the key that signs Trusted Applications for this image: treat it as such. Compare
    the digest printed here with the one that import prints.

    \b
    trustbox emulator export image.tar.gz
    """
    image = find_image(images_dir(), recipe_digest(profile_named(profile)))
    if image is None:
        raise Misuse(
            "there is no built image to export", hint="Build it first: trustbox emulator build"
        )
    try:
        export_image(image, file)
    except OSError as failed:
        raise Misuse(f"{file} cannot be written: {failed.strerror}") from failed
    _tell(image, as_json, file=str(file), bytes=file.stat().st_size)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What export wrote.")],
    as_json: Json = False,
) -> None:
    """Check an exported image, every byte of it, and put it where boxes find it.

    Refused as a whole when anything in it is not what its own index says; nothing is left then.

    \b
    trustbox emulator import image.tar.gz
    """
    progress = _progress()
    image = import_image(file, progress=progress)
    known = PROFILES.get(image.profile)
    ours = known is not None and image.recipe == recipe_digest(known)
    if not ours:
        progress(
            "this image was made by another version of the project: it is kept, but this version"
            " would build its own"
        )
    _tell(image, as_json, used=ours)


def _progress() -> Callable[[str], None]:
    terminal = Console(stderr=True, highlight=False, soft_wrap=True)
    return lambda line: terminal.print(line, markup=False)


def _tell(image: Image, as_json: bool, **more: object) -> None:
    facts = {
        "digest": image.digest,
        "profile": image.profile,
        "optee_version": image.optee_version,
        "tee_memory_sha256": image.golden_tee.hex(),
        "directory": str(image.directory),
        "manifest": str(image.manifest),
        **more,
    }
    if as_json:
        typer.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        typer.echo(f"{name:18} {value}")
