"""What a box without a capability cannot do, and which part of its firmware would bring it."""

from __future__ import annotations

from collections.abc import Iterable

from harness.capability import Capability

# Versions: OP-TEE's CHANGELOG.md and the pull requests that brought these parts.
_REMEDIES = {
    Capability.TEE: "nothing of the secure world can be reached: needs OP-TEE, and a kernel with"
    " its driver (CONFIG_OPTEE=y)",
    Capability.PKCS11: "no token, so no device key and no identity: needs OP-TEE built with"
    " CFG_PKCS11_TA=y (upstream since 3.11), and libckteec of optee_client on the box",
    Capability.PKCS11_REMOTE: "the token cannot be driven from here: needs p11-kit on the box"
    " (p11-kit remote), beside what pkcs11 needs",
    Capability.ATTESTATION: "the TEE cannot be measured: needs OP-TEE built with"
    " CFG_ATTESTATION_PTA=y (upstream since 3.17)",
    Capability.TA_LOAD: "no enclave can be installed: needs OP-TEE built with CFG_REE_FS_TA=y",
    Capability.TA_DEVKIT: "no enclave can be built for this firmware: needs its maker's TA dev kit"
    " and signing key, named in the target's entry; or name a signed .ta file in the plan",
    Capability.TA_ENCRYPTION: "no enclave can be encrypted for it: needs OP-TEE built with"
    " CFG_ENCRYPT_TA=y (upstream since 3.8), and this box's key in a file, named in the target's"
    " entry (ta_encryption_key)",
    Capability.OE_HOST_RPC: "no Open Enclave host program can run: needs the ms-iot forks of OP-TEE"
    " (CFG_TA_RPC=y), of its kernel driver and of libteec; upstream has none of it",
    Capability.TEE_STATS: "secure memory in use cannot be seen: needs OP-TEE built with"
    " CFG_WITH_STATS=y",
    Capability.STORAGE_ROLLBACK_PROTECTED: "who can write the disk can put back an older state of"
    " secure storage: needs RPMB (an eMMC), and OP-TEE built with CFG_RPMB_FS=y",
    Capability.GOLDEN: "a measurement has nothing to be compared with: needs the value computed"
    " from the firmware's tee.elf, named in the target's entry or in the plan",
    Capability.OWN_HUK: "keys in the TEE are not the box's own: needs a hardware unique key (fuses,"
    " or CAAM's blob key)",
    Capability.SECURE_CONSOLE: "the secure world's log is mixed with the normal world's: needs"
    " an OP-TEE that logs on a UART of its own, and its serial_url in the target's entry",
    Capability.POWER: "nobody can cut its power from here: needs a power table in the target's"
    " entry",
    Capability.TAMPER: "live secure memory cannot be changed from here: needs an emulated box that"
    " this process holds itself",
    Capability.MORE_BOXES: "a bench is one box: needs a target that can give several",
    Capability.FIRMWARE_ROLLBACK_PROTECTED: "older firmware can be put back: needs a non-volatile"
    " counter in the SoC",
    Capability.CONSOLE_LOGIN: "there is no shell without a network: needs a console table (user and"
    " password_file) in the target's entry",
    Capability.OPENSSL: "needs the openssl command on the box",
    Capability.XTEST: "OP-TEE's own tests cannot run: needs xtest on the box (optee_test), and its"
    " TAs signed with the key of its firmware in a directory (layout, in the target's entry)",
    Capability.SOFTHSM: "no second vendor's token to try keys in: needs softhsm2 and p11-kit on"
    " the box",
    Capability.AGENT: "needs a directory on the box from which programs may run (layout, in the"
    " target's entry)",
    Capability.STREAMS: "needs SSH",
}


def remedy(missing: Iterable[Capability]) -> str:
    """A line for each of ``missing`` that something would bring; empty when nothing would."""
    found = sorted((c.value, _REMEDIES[c]) for c in missing if c in _REMEDIES)
    lines = [f"{name}: {text}" for name, text in found]
    return "\n  ".join(["what would bring it:", *lines]) if lines else ""
