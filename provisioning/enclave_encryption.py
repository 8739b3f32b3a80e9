"""The keys that Trusted Applications are encrypted under, and AES-GCM as OP-TEE does it.

A box's own key comes from its hardware unique key and the public key that its OP-TEE checks TAs
with (core/kernel/otp_stubs.c, tee_otp_get_ta_enc_key), so whoever made the firmware and knows the
hardware key can compute it. It comes here as a file; an emulated box's comes with its firmware.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from harness.errors import IntegrityFailure, Misuse
from harness.secret import Secret
from provisioning.enclave_format import IV_SIZE, TAG_SIZE, Encryption
from provisioning.private_files import write_durably


def write_key(path: Path, key: Secret) -> None:
    """As ``harness.ta_key_file`` reads it; never over a file that is there. Raises Misuse."""
    if path.exists():
        raise Misuse(f"{path} is there already, and a key is never written over anything")
    write_durably(path, key.reveal().hex().encode() + b"\n")


def encrypted(payload: bytes, key: Secret, *, class_wide: bool) -> tuple[Encryption, bytes]:
    """A fresh IV, the tag, and the ciphertext. Nothing else is authenticated by the tag: the
    signature covers the headers."""
    iv = secrets.token_bytes(IV_SIZE)
    sealed = AESGCM(key.reveal()).encrypt(iv, payload, None)
    return Encryption(class_wide, iv, sealed[-TAG_SIZE:]), sealed[:-TAG_SIZE]


def decrypted(ciphertext: bytes, encryption: Encryption, key: Secret, *, where: str) -> bytes:
    """Raises IntegrityFailure for another key, or a payload that was changed: no one can tell."""
    sealed = ciphertext + encryption.tag
    try:
        return AESGCM(key.reveal()).decrypt(encryption.iv, sealed, None)
    except InvalidTag:
        raise IntegrityFailure(
            f"{where}: the payload cannot be decrypted: another key, or it was changed"
        ) from None
