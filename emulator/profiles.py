"""Which boxes there are to emulate, and what sets them apart from each other.

These are data, so that the manifest can say them and the recipe's digest can cover them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from harness.errors import BadInput
from harness.target import World


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of OP-TEE's source: what ``pattern`` (re, DOTALL) finds in ``file``, once."""

    file: str
    pattern: str
    replacement: str


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of box. Everything that is not here is alike in all of them."""

    name: str
    optee: Mapping[str, str]
    """OP-TEE's build options."""
    tfa: Mapping[str, str]
    """TF-A's build options."""
    cmdline: str
    """The kernel's."""
    packages: tuple[str, ...]
    """What a person or a program uses on the box; dependencies come by themselves."""
    autoboot_seconds: int
    """U-Boot's countdown. With 0 a key that came before it still stops it."""
    worlds: tuple[World, ...]
    """Which worlds log on a UART of their own."""
    optee_edits: tuple[Edit, ...] = ()
    overlays: tuple[str, ...] = ("root",)
    """Directories in emulator/init, laid over the packages in this order."""
    root_shadow: str = ""
    """Root's password as in shadow(5). Empty: the UART asks for none, and SSH takes keys alone."""

    @property
    def recipe(self) -> dict[str, object]:
        """What of this decides the image; the rest can change without building it again."""
        return {
            "name": self.name,
            "optee": dict(self.optee),
            "optee_edits": [asdict(edit) for edit in self.optee_edits],
            "tfa": dict(self.tfa),
            "cmdline": self.cmdline,
            "packages": list(self.packages),
            "overlays": list(self.overlays),
            "root_shadow": self.root_shadow,
        }


_OPTEE = {
    "PLATFORM": "vexpress-qemu_armv8a",
    "CFG_ARM64_core": "y",
    "CFG_USER_TA_TARGETS": "ta_arm64",
    "CFG_ARM_GICV3": "y",
    "CFG_TEE_CORE_LOG_LEVEL": "2",
}
_TFA = {
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
# Panics still show: they are printed at level 0. panic=0 keeps the guest standing after one, so
# that what holds it sees the panic and not a reboot. The rest is what costs seconds under TCG;
# nokaslr, because with KASLR the kernel also switches its page tables at every system call (KPTI);
# norandmaps, because QEMU translates a program anew for every address that it runs at
# (docs/emulator.md has what that costs, and how to see it). Both weaken Linux, and only it.
_QUICK = (
    "panic=0 nokaslr norandmaps cryptomgr.notests init_on_alloc=0 lsm=capability audit=0"
    " ipv6.disable=1 nowatchdog"
)
_USERLAND = (
    "openssh-server", "openssh-sftp-server", "tee-supplicant", "openssl", "busybox-static", "bash",
    "dash", "coreutils", "grep", "sed", "findutils", "diffutils", "tar", "gzip", "mawk",
    "base-files", "base-passwd", "procps",
)  # fmt: skip
_TOKEN = ("libckteec0t64", "opensc", "pkcs11-provider", "p11-kit", "p11-kit-modules")
# A second vendor's token, and OP-TEE's own test suite: what the harness says is held against both.
_TESTS = ("softhsm2", "optee-test-qemu")

# OP-TEE's log on the normal world's UART, whatever the device tree says of a secure one. Without
# its interrupt: what is typed there is not for OP-TEE.
_SHARED_UART = (
    Edit(
        "core/arch/arm/plat-vexpress/platform_config.h",
        r"(FLAVOR_qemu_armv8a\).*?CONSOLE_UART_BASE\s+)UART1_BASE\n#define IT_CONSOLE_UART[^\n]*",
        r"\g<1>UART0_BASE",
    ),
    Edit("core/kernel/console.c", r'"/secure-chosen"', '"/chosen"'),
)

# 2048 bits, where OP-TEE's default is 3072: a box makes the key at its first attestation, which
# took 5 to 9 s under TCG, and this evidence is marked `functional` whatever its key.
_ATTESTATION = {"CFG_ATTESTATION_PTA": "y", "CFG_ATTESTATION_PTA_KEY_SIZE": "2048"}

CURRENT = Profile(
    name="current",
    optee=_OPTEE | _ATTESTATION | {"CFG_ENCRYPT_TA": "y", "CFG_PKCS11_TA": "y"},
    tfa=_TFA,
    cmdline=f"console=ttyAMA0 quiet loglevel=4 {_QUICK}",
    packages=(*_USERLAND, *_TOKEN, *_TESTS),
    autoboot_seconds=0,
    worlds=(World.NORMAL, World.SECURE),
)
"""OP-TEE 4.10 with everything this project uses."""

SHIPPED = Profile(
    name="shipped",
    optee=_OPTEE | {"CFG_ATTESTATION_PTA": "n", "CFG_ENCRYPT_TA": "n", "CFG_PKCS11_TA": "n"},
    optee_edits=_SHARED_UART,
    tfa=_TFA,
    cmdline=f"console=ttyAMA0 {_QUICK}",
    packages=_USERLAND,
    overlays=("root", "shipped"),
    # "root": the password that the maker's manual tells everybody.
    root_shadow=(
        "$6$trustbox$vY.rh0DACL.QQ7a.Vr.CsCXNrufWgN0fOgKnqQHTbC7tHFVtuBTtZ6O1BH"
        ".xSJ5S/Np6I0qv78/oe9TLx2lCG."
    ),
    autoboot_seconds=2,
    worlds=(World.NORMAL,),
)
"""What a box in the field has today: no PKCS#11 TA, no attestation PTA, one shared UART."""

PROFILES = {profile.name: profile for profile in (CURRENT, SHIPPED)}


def profile_named(name: str) -> Profile:
    """Raises BadInput, naming those there are."""
    try:
        return PROFILES[name]
    except KeyError:
        known = " or ".join(sorted(PROFILES))
        raise BadInput(where="--profile", key="profile", value=name, expected=known) from None
