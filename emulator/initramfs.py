"""The initramfs: busybox, the few kernel modules a box needs to reach its disk, and our init.

Uncompressed and small, plain modules in loading order and no modprobe: that is where most of the
seconds of a cold boot under TCG were.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Iterator
from pathlib import Path

from elftools.elf.elffile import ELFFile

from emulator import newc
from emulator.flags import CROSS
from emulator.rootfs import OURS
from emulator.running import Tools
from harness.errors import BuildFailed

# What /dev/vda needs, and what else; each list is loaded in order, both at once.
# ext4 asks for its checksum by an alias that only modprobe could resolve, so it is named here.
DISK = ("virtio_blk", "crc32c_generic", "ext4")
REST = ("virtio_console", "tee", "optee", "virtio_net", "virtio-rng", "optee-rng")


def make_initramfs(kernel: Path, busybox: Path, tools: Tools) -> bytes:
    """The archive, from the unpacked kernel package ``kernel``. Raises BuildFailed."""
    available = {_name(file): file for file in kernel.rglob("*.ko*")}
    built_in = _built_in(kernel)
    disk = _order(DISK, available, built_in, {})
    rest = _order(REST, available, built_in, dict(disk))
    files = {
        "init": newc.Entry((OURS / "initramfs-init").read_bytes(), 0o755),
        "bin/busybox": newc.Entry(busybox.read_bytes(), 0o755),
    }
    for listing, names in (("disk", list(disk)), ("rest", [n for n in rest if n not in disk])):
        order = "".join(f"{name}.ko\n" for name in names)
        files[f"modules/{listing}"] = newc.Entry(order.encode(), 0o644)
    for name, module in rest.items():
        files[f"modules/{name}.ko"] = newc.Entry(_bare(module, kernel, tools), 0o644)
    return newc.archive(files)


def _name(file: Path) -> str:
    return file.name.split(".ko")[0].replace("-", "_")


def _built_in(kernel: Path) -> frozenset[str]:
    listing = next(kernel.rglob("modules.builtin"), None)
    lines = listing.read_text().splitlines() if listing else []
    return frozenset(_name(Path(line)) for line in lines)


def _order(
    names: tuple[str, ...],
    available: dict[str, Path],
    built_in: frozenset[str],
    found: dict[str, bytes],
) -> dict[str, bytes]:
    for name in (name.replace("-", "_") for name in names):
        if name in found or name in built_in:
            continue
        if name not in available:
            raise BuildFailed("initramfs", f"the kernel package has no module {name}")
        data = _plain(available[name])
        _order(tuple(_dependencies(data)), available, built_in, found)
        found[name] = data
    return found


def _plain(file: Path) -> bytes:
    data = file.read_bytes()
    if file.suffix == ".xz":
        return lzma.decompress(data)
    if file.suffix == ".ko":
        return data
    raise BuildFailed("initramfs", f"{file.name} is compressed in a way not known here")


def _bare(module: bytes, scratch: Path, tools: Tools) -> bytes:
    """The module without what costs time to load: type information (BTF), Debian's signature.

    The kernel of a box does not demand signed modules; it marks itself tainted (E) instead.
    """
    file = scratch / "bare.ko"
    file.write_bytes(module)
    drop = ["--strip-debug", "-R", ".BTF", "-R", ".BTF.base"]
    tools.run("initramfs", f"{CROSS}objcopy", *drop, file)
    return file.read_bytes()


def _dependencies(module: bytes) -> Iterator[str]:
    # "depends=" in .modinfo names what must be there first.
    section = ELFFile(io.BytesIO(module)).get_section_by_name(".modinfo")
    for item in section.data().split(b"\0") if section else ():
        key, _, value = item.partition(b"=")
        if key == b"depends":
            yield from (name for name in value.decode().split(",") if name)
