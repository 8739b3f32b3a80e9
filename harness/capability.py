"""What a box can do. Every member is found by asking the box, never by asking what the box is."""

from __future__ import annotations

from enum import Enum


class Capability(Enum):
    """Each member says what it permits; ``harness/probe.py`` says how it is found."""

    TEE = "tee"
    """A TEE device node that answers the version ioctl as OP-TEE."""
    AGENT = "agent"
    """The harness's static helper runs there: TEE calls, and commands without a new SSH channel."""
    STREAMS = "streams"
    """Long-lived byte streams to a program on the box (needs SSH)."""
    PKCS11 = "pkcs11"
    """A PKCS#11 module on the box shows at least one slot."""
    PKCS11_REMOTE = "pkcs11-remote"
    """The token can be driven from here, through p11-kit on the box."""
    ATTESTATION = "attestation"
    """The attestation PTA answers: TEE memory, TA memory and TA identity can be measured."""
    TA_LOAD = "ta-load"
    """Trusted Applications are loaded from files in the normal world and checked on loading."""
    TA_DEVKIT = "ta-devkit"
    """A TA dev kit and signing key for this box's firmware are at hand on the host."""
    TA_ENCRYPTION = "ta-encryption"
    """The key that this box's TEE decrypts TAs with is at hand on the host."""
    GOLDEN = "golden"
    """The golden measurement of this box's OP-TEE core is at hand on the host."""
    OWN_HUK = "own-huk"
    """The TEE UUID is not the one that an all-zero hardware unique key gives."""
    SECURE_CONSOLE = "secure-console"
    """The secure world logs on a UART of its own."""
    POWER = "power"
    """The rig can cut and give power."""
    RESTORE = "restore"
    """The rig can put the box back into its delivered state."""
    TAMPER = "tamper"
    """The rig can change a byte of live secure memory, to see that it is noticed."""
    CONSOLE_LOGIN = "console-login"
    """It is known how to log in on the normal world's UART: there is a shell without a network."""
    OPENSSL = "openssl"
    """The box has the openssl command."""
