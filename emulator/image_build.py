"""One image from packages and sources: the order of the steps, and what goes where."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from emulator import initramfs, rootfs
from emulator.archive import Apt
from emulator.flags import BOOTCMD, CROSS
from emulator.golden import tee_memory_sha256
from emulator.image_store import write_index
from emulator.manifest import cyclonedx, licences_of
from emulator.optee_build import build_optee, check_version
from emulator.packages import (
    FIRMWARE,
    SOURCES,
    Binary,
    Source,
    fetch,
    fetch_source,
    resolve,
    unpack,
)  # fmt: skip
from emulator.profiles import Profile
from emulator.running import Tools
from emulator.stages import digest_of_files, stage
from emulator.tfa_build import build_flash

HERE = Path(__file__).parent
_TOOLS = {
    f"{CROSS}gcc": ("--version",),
    f"{CROSS}ld": ("--version",),
    "gcc": ("--version",),
    "make": ("--version",),
    "dtc": ("--version",),
    "openssl": ("version",),
    "dpkg-deb": ("--version",),
    "apt-get": ("--version",),
    "fakeroot": ("--version",),
}


@dataclass(frozen=True, slots=True)
class Materials:
    """Everything that comes from the archive, fetched and checked."""

    binaries: list[Binary]
    kernel: Binary
    sources: dict[str, Source]

    def named(self, name: str) -> Binary:
        return next(binary for binary in self.binaries if binary.name == name)


def gather(apt: Apt, profile: Profile, tools: Tools) -> Materials:
    """Look what the archive has today and fetch it. Raises BuildFailed."""
    tools.progress(f"reading the lists of {apt.uri}")
    apt.refresh()
    optee = fetch_source(apt, "optee-os")
    check_version(optee)
    binaries, kernel = resolve(apt, profile.packages)
    tools.progress(f"fetching {len(binaries)} packages and {len(SOURCES)} sources")
    fetch(apt, binaries)
    sources = {name: fetch_source(apt, name) for name in SOURCES}
    return Materials(binaries, kernel, sources)


def build_into(
    directory: Path, profile: Profile, recipe: str, materials: Materials, build: Path, tools: Tools
) -> None:
    """Fill ``directory`` with a whole image. Expensive parts are kept in ``build``."""
    work = directory / "work"
    work.mkdir()
    versions = _versions(tools)
    optee, flash = _firmware(profile, materials, build, versions, tools)

    tools.progress("making the disk")
    root, kernel = work / "root", work / "kernel"
    apart = (materials.kernel, materials.named(FIRMWARE))
    userland = [binary for binary in materials.binaries if binary not in apart]
    rootfs.build_tree(userland, optee, profile, root, tools)
    unpack(materials.kernel, kernel, tools)
    unpack(materials.named(FIRMWARE), kernel, tools)
    licences = {
        binary.name: licences_of(tree / "usr/share/doc" / binary.name / "copyright")
        for tree, group in ((root, userland), (kernel, apart))
        for binary in group
    }
    rootfs.prune(root)
    rootfs.make_disk(root, directory / "root.ext4", tools)

    tools.progress("making the initramfs")
    initrd = initramfs.make_initramfs(kernel, root / "usr/bin/busybox", tools)
    (directory / "initrd.cpio").write_bytes(initrd)
    shutil.copyfile(next((kernel / "boot").glob("vmlinuz-*")), directory / "kernel")

    for file in ("tee.elf", "ta_key.pem"):
        shutil.copy(optee / file, directory)
    shutil.copytree(optee / "devkit", directory / "devkit")
    for file in ("flash.bin", "rot_key.pem"):
        shutil.copy(flash / file, directory)
    (directory / "cmdline").write_text(profile.cmdline + "\n")
    golden = tee_memory_sha256(directory / "tee.elf").hex()
    (directory / "golden.json").write_text(json.dumps({"tee_memory_sha256": golden}) + "\n")

    for name in SOURCES:
        kept = optee if (optee / f"{name}.copyright").exists() else flash
        licences[name] = licences_of(kept / f"{name}.copyright")
    manifest = cyclonedx(
        image={"version": recipe[:16], "description": f"profile {profile.name}"},
        binaries=materials.binaries,
        sources=materials.sources.values(),
        licences=licences,
        flags={
            "optee-os": profile.optee,
            "arm-trusted-firmware": profile.tfa,
            "boot": {"cmdline": profile.cmdline, "bootcmd": BOOTCMD},
        },
        tools=versions,
    )
    (directory / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(work)
    version = materials.sources["optee-os"].version
    write_index(
        directory,
        {"profile": profile.name, "recipe": recipe, "optee_version": version, "bootcmd": BOOTCMD},
    )


def _firmware(
    profile: Profile, materials: Materials, build: Path, versions: Mapping[str, str], tools: Tools
) -> tuple[Path, Path]:
    """The directories with OP-TEE and with the boot flash, built now or kept from before."""
    sources = materials.sources
    optee_inputs = {
        "source": sources["optee-os"].files,
        "flags": dict(profile.optee),
        "edits": [asdict(edit) for edit in profile.optee_edits],
        "ours": digest_of_files(HERE, "optee/**/*", "optee_build.py"),
        "tools": dict(versions),
    }

    def optee_into(place: Path) -> None:
        tools.progress(f"building OP-TEE {sources['optee-os'].version}")
        build_optee(sources["optee-os"], profile, place, tools)

    optee = stage(build, f"optee-{profile.name}", optee_inputs, optee_into)
    firmware = materials.named(FIRMWARE)

    def flash_into(place: Path) -> None:
        tools.progress(f"building TF-A {sources['arm-trusted-firmware'].version}")
        unpacked = place / "u-boot"
        unpack(firmware, unpacked, tools)
        build_flash(
            sources["arm-trusted-firmware"],
            sources["mbedtls"],
            profile.tfa,
            optee=optee,
            u_boot=unpacked / "usr/lib/u-boot/qemu_arm64/u-boot.bin",
            into=place,
            tools=tools,
        )
        shutil.rmtree(unpacked)

    flash_inputs = {
        "optee": digest_of_files(optee, "*.bin"),
        "sources": [sources["arm-trusted-firmware"].files, sources["mbedtls"].files],
        "u-boot": firmware.sha256,
        "flags": dict(profile.tfa),
        "ours": digest_of_files(HERE, "tfa_build.py"),
        "tools": dict(versions),
    }
    return optee, stage(build, f"flash-{profile.name}", flash_inputs, flash_into)


def _versions(tools: Tools) -> dict[str, str]:
    """Tool → the first line that it says about its version."""
    found = {"python": platform.python_version()}
    for name, words in _TOOLS.items():
        found[name] = tools.ask(f"version of {name}", name, *words).splitlines()[0].strip()
    return found
