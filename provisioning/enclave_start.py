"""The static program that starts a module with an enclave, compiled once and cached."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from harness.errors import BuildFailed, Misuse
from provisioning.file_trouble import on_disk
from provisioning.private_files import private_directory

SOURCE = Path(__file__).parent / "enclaves" / "start" / "start.c"
COMPILER = "aarch64-linux-gnu-gcc"
FLAGS = (
    *("-std=c11", "-D_GNU_SOURCE", "-O2", "-s", "-static", "-Wall", "-Wextra", "-Werror"),
    "-Wl,--build-id=none",
)
_SECONDS = 60


def start_program() -> bytes:
    """For AArch64, without a library. Raises Misuse without a compiler or where the cache cannot be
    used, BuildFailed, also for a compiler that does not end, and DiskFailed.
    """
    text = SOURCE.read_bytes()
    name = hashlib.sha256(" ".join(FLAGS).encode() + b"\0" + text).hexdigest()[:16]
    root = os.environ.get("TRUSTBOX_CACHE")
    cache = (Path(root) if root else user_cache_path("trustbox")) / "enclaves"
    cached = private_directory(cache) / f"start-{name}"
    if cached.is_file():
        return cached.read_bytes()
    if shutil.which(COMPILER) is None:
        raise Misuse(
            f"the compiler {COMPILER} is missing, so a module's first program cannot be made",
            hint="apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
        )
    with on_disk(cached), tempfile.TemporaryDirectory(dir=cache) as work:
        made = Path(work) / "start"
        argv = [COMPILER, *FLAGS, "-o", str(made), str(SOURCE)]
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, check=False, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            told = f"it was not done after {_SECONDS} s, and was ended"
            raise BuildFailed(COMPILER, told, what="a module's first program") from None
        if done.returncode:
            told = (done.stderr.strip().splitlines() or ["no message"])[-1][:300]
            raise BuildFailed(COMPILER, told, what="a module's first program")
        made.replace(cached)  # beside its place, then renamed: two at once do no harm
    return cached.read_bytes()
