"""OP-TEE OS from Debian's source: the core, the TA development kit, the image's own TAs."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from emulator.flags import CROSS, ENTROPY_TA, OPTEE_OLDEST, PKCS11_TA
from emulator.packages import Source
from emulator.profiles import Edit, Profile
from emulator.running import Tools
from harness.errors import BuildFailed

OURS = Path(__file__).parent / "optee"
CORE = ("tee-header_v2.bin", "tee-pager_v2.bin", "tee-pageable_v2.bin", "tee.elf")


def check_version(source: Source) -> None:
    """Raises BuildFailed for an OP-TEE without what the profile needs."""
    if source.upstream < OPTEE_OLDEST:
        oldest = ".".join(map(str, OPTEE_OLDEST))
        raise BuildFailed(
            "source of optee-os",
            f"the archive has OP-TEE {source.version}, the emulator needs {oldest} or newer"
            " (attestation PTA, fixed vulnerabilities)",
        )


def build_optee(source: Source, profile: Profile, into: Path, tools: Tools) -> None:
    """Fill ``into``: the core's parts, ``devkit/``, ``tas/`` and ``ta_key.pem`` (0600).

    TAs are signed with a key made here, not with OP-TEE's public default key.
    """
    work = into / "work"
    tree = source.unpack(work, tools)
    for edit in profile.optee_edits:
        _apply(edit, tree)
    platform = tree / "core/arch/arm/plat-vexpress"
    shutil.copy(OURS / "platform/trustbox_huk.c", platform)
    with (platform / "sub.mk").open("a") as sub:
        sub.write("srcs-y += trustbox_huk.c\n")

    shutil.copy(tree / "debian/copyright", into / f"{source.name}.copyright")
    key = into / "ta_key.pem"
    make_rsa_key(key, 3072, tools)
    out = work / "out"
    options = {
        **profile.optee,
        **_compilers("core", "ta_arm64"),
        # Without a git tree the core could not tell its version.
        "TEE_IMPL_VERSION": source.version,
        "TA_SIGN_KEY": str(key),
        "O": str(out),
    }
    _make("OP-TEE", tree, options, tools)

    for part in CORE:
        shutil.copy(out / "core" / part, into)
    kit = into / "devkit"
    shutil.copytree(out / "export-ta_arm64", kit)
    # One place for the key: who builds a TA names it (TA_SIGN_KEY).
    shutil.rmtree(kit / "keys")
    # These are signed by the build, encrypted under a key that no box has: see below.
    shutil.rmtree(kit / "ta")

    tas = into / "tas"
    tas.mkdir()
    if profile.optee["CFG_PKCS11_TA"] == "y":
        # With CFG_ENCRYPT_TA the build encrypts its own TAs under the all-zero hardware key; no box
        # of ours has that key, so they are signed again in clear.
        pkcs11 = next((out / "ta").rglob(f"{PKCS11_TA}.stripped.elf"), None)
        if pkcs11 is None:
            raise BuildFailed("OP-TEE", "the build made no PKCS#11 TA", log=str(tools.log))
        sign_ta(kit, key, PKCS11_TA, pkcs11, tas / f"{PKCS11_TA}.ta", tools)

    entropy = work / "entropy_ta"
    shutil.copytree(OURS / "entropy_ta", entropy)
    made = entropy / "out"
    options = {"TA_DEV_KIT_DIR": str(kit), "O": str(made), "CROSS_COMPILE": CROSS}
    options["TA_SIGN_KEY"] = str(key)
    _make("entropy TA", entropy, options, tools)
    sign_ta(
        kit, key, ENTROPY_TA, made / f"{ENTROPY_TA}.stripped.elf", tas / f"{ENTROPY_TA}.ta", tools
    )
    shutil.rmtree(work)


def make_rsa_key(file: Path, bits: int, tools: Tools) -> None:
    """A new RSA key in the PEM ``file``, readable by its owner only."""
    file.touch(mode=0o600)
    tools.run("signing key", "openssl", "genrsa", "-out", file, str(bits))
    file.chmod(0o600)


def sign_ta(kit: Path, key: Path, uuid: str, elf: Path, into: Path, tools: Tools) -> None:
    """Sign a TA in clear with OP-TEE's own tool."""
    tools.run(
        f"signing TA {uuid}",
        sys.executable, kit / "scripts/sign_encrypt.py", "sign-enc", "--uuid", uuid,
        "--ta-version", "0", "--key", key, "--in", elf, "--out", into,
    )  # fmt: skip


def _apply(edit: Edit, tree: Path) -> None:
    file = tree / edit.file
    text, found = re.subn(edit.pattern, edit.replacement, file.read_text(), flags=re.DOTALL)
    if found != 1:
        raise BuildFailed("OP-TEE", f"{edit.file} has {found} places like {edit.pattern!r}, not 1")
    file.write_text(text)


def _compilers(*submodules: str) -> dict[str, str]:
    return {"CROSS_COMPILE": CROSS, **{f"CROSS_COMPILE_{name}": CROSS for name in submodules}}


def _make(step: str, tree: Path, options: Mapping[str, str], tools: Tools) -> None:
    # OP-TEE's scripts need cryptography and pyelftools, which this Python has.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    words = [f"{name}={value}" for name, value in options.items()]
    jobs = f"-j{os.cpu_count() or 1}"
    tools.run(step, "make", "-C", tree, jobs, *words, env={"PATH": path, "MAKEFLAGS": ""})
