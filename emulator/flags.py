"""What is built in: the options of OP-TEE, TF-A and the kernel's command line, by profile.

These are data, so that the manifest can say them and the recipe's digest can cover them.
"""

from __future__ import annotations

from harness.errors import BadInput

CROSS = "aarch64-linux-gnu-"
OPTEE_OLDEST = (4, 10)
PKCS11_TA = "fd02c9da-306c-48c7-a49c-bbd827ae86ee"
ENTROPY_TA = "b1c7a2f4-5d0e-4c6b-9a3e-7f2d8e1c4b60"

# Where the boot flash holds a box's hardware unique key: a page that BL1 must not reach, below the
# FIP. emulator/optee/platform/trustbox_huk.c reads it there.
HUK_OFFSET = 0x3F000
HUK_SIZE = 16
FIP_OFFSET = 0x40000

OPTEE: dict[str, dict[str, str]] = {
    "current": {
        "PLATFORM": "vexpress-qemu_armv8a",
        "CFG_ARM64_core": "y",
        "CFG_USER_TA_TARGETS": "ta_arm64",
        "CFG_ARM_GICV3": "y",
        "CFG_ATTESTATION_PTA": "y",
        "CFG_ENCRYPT_TA": "y",
        "CFG_PKCS11_TA": "y",
        "CFG_TEE_CORE_LOG_LEVEL": "2",
    }
}
TFA: dict[str, dict[str, str]] = {
    "current": {
        "PLAT": "qemu",
        "SPD": "opteed",
        "BL32_RAM_LOCATION": "tdram",
        "QEMU_USE_GIC_DRIVER": "QEMU_GICV3",
        "TRUSTED_BOARD_BOOT": "1",
        "GENERATE_COT": "1",
        # mbed TLS's headers declare functions twice, which TF-A's warnings would make an error.
        "E": "0",
        "LOG_LEVEL": "30",
    }
}

# OP-TEE's shared memory lies at 0x42000000-0x42200000 and U-Boot at 0x60000000: load between them.
KERNEL_ADDRESS = 0x42400000
INITRD_ADDRESS = 0x48000000
BOOTCMD = (
    f"qfw load {KERNEL_ADDRESS:x} {INITRD_ADDRESS:x};"
    f" booti {KERNEL_ADDRESS:x} {INITRD_ADDRESS:x}:$filesize $fdtcontroladdr"
)
# Panics still show: they are printed at level 0. panic=0 keeps the guest standing after one, so
# that what holds it sees the panic and not a reboot. The rest is what costs seconds under TCG;
# nokaslr, because with it the kernel also switches its page tables at every system call (KPTI).
CMDLINE = (
    "console=ttyAMA0 quiet loglevel=4 panic=0 nokaslr cryptomgr.notests init_on_alloc=0"
    " lsm=capability audit=0 ipv6.disable=1 nowatchdog"
)


def known_profile(profile: str) -> str:
    """``profile`` itself. Raises BadInput, naming those there are."""
    if profile not in OPTEE:
        raise BadInput(
            where="--profile", key="profile", value=profile, expected=" or ".join(sorted(OPTEE))
        )
    return profile
