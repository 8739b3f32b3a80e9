"""The boot flash: TF-A from Debian's source with trusted board boot, OP-TEE and U-Boot inside."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from emulator.flags import CROSS, FIP_OFFSET, HUK_OFFSET, HUK_SIZE
from emulator.optee_build import make_rsa_key
from emulator.packages import Source
from emulator.running import Tools
from harness.errors import BuildFailed


def build_flash(
    tfa: Source,
    mbedtls: Source,
    flags: Mapping[str, str],
    *,
    optee: Path,
    u_boot: Path,
    into: Path,
    tools: Tools,
) -> None:
    """Fill ``into`` with ``flash.bin`` (BL1 at 0, FIP at 256 KiB) and its root of trust key.

    Raises BuildFailed also when the place of the hardware unique key is not free.
    """
    work = into / "work"
    work.mkdir()
    tree = tfa.unpack(work / "tfa", tools)
    library = mbedtls.unpack(work / "mbedtls", tools)
    for source, unpacked in ((tfa, tree), (mbedtls, library)):
        shutil.copy(unpacked / "debian/copyright", into / f"{source.name}.copyright")
    key = into / "rot_key.pem"
    make_rsa_key(key, 2048, tools)
    options = {
        **flags,
        "CROSS_COMPILE": CROSS,
        "MBEDTLS_DIR": str(library),
        "ROT_KEY": str(key),
        "BL32": str(optee / "tee-header_v2.bin"),
        "BL32_EXTRA1": str(optee / "tee-pager_v2.bin"),
        "BL32_EXTRA2": str(optee / "tee-pageable_v2.bin"),
        "BL33": str(u_boot),
        "BUILD_BASE": str(work / "out"),
    }
    words = [f"{name}={value}" for name, value in options.items()]
    jobs = f"-j{os.cpu_count() or 1}"
    tools.run("TF-A", "make", "-C", tree, jobs, *words, "all", "fip", env={"MAKEFLAGS": ""})

    made = work / "out/qemu/release"
    bl1, fip = (made / "bl1.bin").read_bytes(), (made / "fip.bin").read_bytes()
    if len(bl1) > HUK_OFFSET:
        raise BuildFailed("boot flash", f"BL1 has {len(bl1)} bytes and reaches the device key")
    flash = bl1.ljust(FIP_OFFSET, b"\0") + fip
    if any(flash[HUK_OFFSET : HUK_OFFSET + HUK_SIZE]):
        raise BuildFailed("boot flash", "the place of the device key is not free")
    (into / "flash.bin").write_bytes(flash)
    shutil.rmtree(work)
