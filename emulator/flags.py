"""What is built in, whatever the profile: addresses, identities, the boot command."""

from __future__ import annotations

CROSS = "aarch64-linux-gnu-"
OPTEE_OLDEST = (4, 10)
PKCS11_TA = "fd02c9da-306c-48c7-a49c-bbd827ae86ee"
ENTROPY_TA = "b1c7a2f4-5d0e-4c6b-9a3e-7f2d8e1c4b60"

# Where the boot flash holds a box's hardware unique key: a page that BL1 must not reach, below the
# FIP. emulator/optee/platform/trustbox_huk.c reads it there.
HUK_OFFSET = 0x3F000
HUK_SIZE = 16
FIP_OFFSET = 0x40000

# OP-TEE's shared memory lies at 0x42000000-0x42200000 and U-Boot at 0x60000000: load between them.
KERNEL_ADDRESS = 0x42400000
INITRD_ADDRESS = 0x48000000
BOOTCMD = (
    f"qfw load {KERNEL_ADDRESS:x} {INITRD_ADDRESS:x};"
    f" booti {KERNEL_ADDRESS:x} {INITRD_ADDRESS:x}:$filesize $fdtcontroladdr"
)
