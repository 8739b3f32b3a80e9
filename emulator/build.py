"""``ensure_image``: the image of a profile, from the cache or built now."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from emulator.build_lock import build_lock
from emulator.image import Image
from emulator.image_store import find_image, keep_image, recipe_digest
from emulator.paths import build_dir, images_dir
from emulator.profiles import CURRENT, profile_named
from emulator.stages import staging, sweep
from harness.deadline import Deadline

BUILD_SECONDS = 1800.0


def ensure_image(
    profile: str = CURRENT.name,
    *,
    archive: str | None = None,
    progress: Callable[[str], None],
    refresh: bool = False,
) -> Image:
    """The image of ``profile``; builds it when this version of the recipe has none in the cache.

    A cached image is found without network and without looking at the host's tools. ``archive``
    is a Debian mirror's URL instead of the host's own; ``refresh`` asks the archive again even
    when an image is there. Two callers at once: one builds, the other waits and gets the same.

    Raises Misuse (no such profile, no archive), BuildFailed. Whatever happens, nothing unfinished
    is left where images are looked for.
    """
    chosen = profile_named(profile)
    recipe = recipe_digest(chosen)
    images = images_dir()
    found = None if refresh else find_image(images, recipe)
    if found:
        return found
    # Here: an image that is there is found without what building one needs to be imported.
    from emulator.archive import Apt, host_archive
    from emulator.image_build import build_into, gather
    from emulator.running import Tools

    uri = (archive or host_archive()).rstrip("/")
    build = build_dir()
    by = Deadline.after(BUILD_SECONDS)
    with build_lock(build, by, progress):
        # Somebody else may have built it while we waited for the lock.
        found = None if refresh else find_image(images, recipe)
        if found:
            return found
        sweep(build)
        log = build / "log"
        log.unlink(missing_ok=True)
        tools = Tools(log, by, progress)
        progress(f"building the emulator image ({profile}); details go to {log}")
        staged = staging(build)
        try:
            materials = gather(Apt(build / "apt", uri, tools), chosen, tools)
            build_into(staged, chosen, recipe, materials, build, tools)
            image = keep_image(images, staged)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        progress(f"image {image.digest[:12]} is ready")
        return image
