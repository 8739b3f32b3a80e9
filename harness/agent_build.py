"""The helper's binary for a kind of machine: compiled from ``harness/agent`` once, then cached.

Without any library, so that the box needs none and the file is small on its way there. It is named
after its sources and flags: a changed helper is another file, an old one is never taken for it.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import tempfile
from importlib import resources
from pathlib import Path

import platformdirs

from harness.errors import Misuse, RigError
from harness.owned import distrust

FLAGS = (
    *("-std=c11", "-D_GNU_SOURCE", "-Os", "-s", "-static", "-Wall", "-Wextra", "-Werror"),
    *("-nostdlib", "-ffreestanding", "-fno-tree-loop-distribute-patterns", "-fno-pie", "-no-pie"),
    *("-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-Wl,--build-id=none"),
    *("-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"),
    # No 50 KiB of padding, and still right where pages have 64 KiB: nobody applies RELRO here.
    *("-Wl,-z,norelro", "-Wl,-z,noseparate-code"),
)
COMPILERS = {
    "aarch64": ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"),
    "x86_64": ("x86_64-linux-gnu-gcc", "gcc-x86-64-linux-gnu libc6-dev-amd64-cross"),
}


def sources() -> dict[str, bytes]:
    """The helper's source files by name."""
    folder = resources.files("harness") / "agent"
    return {
        entry.name: entry.read_bytes()
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith((".c", ".h"))
    }


def agent_name() -> str:
    """A name that changes with the helper's sources and flags."""
    digest = hashlib.sha256("\0".join(FLAGS).encode())
    for name, text in sources().items():
        digest.update(f"\0{name}\0{len(text)}\0".encode() + text)
    return f"trustbox-agent-{digest.hexdigest()[:16]}"


def agent_for(machine: str) -> Path:
    """The binary for ``machine`` (as ``uname -m`` says it). Raises Misuse, RigError."""
    compiler = _compiler(machine)
    cached = platformdirs.user_cache_path("trustbox") / "agent" / f"{agent_name()}-{machine}"
    if not cached.is_file():
        cached.parent.mkdir(parents=True, exist_ok=True)
        _compile(compiler, machine, cached)
    for place in (cached, cached.parent):
        if why := distrust(place.stat()):  # boxes run it as root
            raise RigError(f"the helper is not taken from {place}: {why}", hint=f"rm -r {place}")
    return cached


def _compiler(machine: str) -> str:
    """The compiler's name; that of the machine we run on is plain ``gcc``."""
    if machine not in COMPILERS:
        raise Misuse(f"the helper is not made for boxes that are a {machine!r}")
    name, packages = ("gcc", "gcc") if machine == platform.machine() else COMPILERS[machine]
    if shutil.which(name) is None:
        raise Misuse(
            f"the compiler {name} is missing, so the helper cannot be made for this box",
            hint=f"apt-get install {packages}",
        )
    return name


def _compile(compiler: str, machine: str, into: Path) -> None:
    """Beside its place, then renamed: two at once, or one that is interrupted, do no harm."""
    with tempfile.TemporaryDirectory(dir=into.parent) as work:
        for name, text in sources().items():
            (Path(work) / name).write_bytes(text)
        units = sorted(name for name in sources() if name.endswith(".c"))
        command = [compiler, *FLAGS, "-o", "agent", *units]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RigError(
                f"{compiler} cannot make the helper for {machine}: {_last_line(done.stderr)}",
                hint=COMPILERS[machine][1] + " may be missing or too old.",
            )
        (Path(work) / "agent").replace(into)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no message"])[-1][:300]
