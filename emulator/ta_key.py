"""The key that an emulated box's OP-TEE decrypts Trusted Applications with.

Known here because the box's hardware unique key is a file of the emulator's: on a real box nobody
outside of its processor knows either (core/kernel/otp_stubs.c, tee_otp_get_ta_enc_key, and
core/kernel/huk_subkey.c: HMAC-SHA256 over the use and the modulus of the TA key).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from harness.errors import RigError
from harness.secret import Secret

_TA_ENCRYPTION = struct.pack("<I", 4)
"""HUK_SUBKEY_TA_ENC: what the derived key is for."""


def ta_encryption_key(huk: Secret, ta_key: Path) -> Secret:
    """32 bytes, for the box with this hardware unique key whose firmware checks TAs with the
    public half of ``ta_key`` (PEM). Raises RigError when that is no RSA key."""
    # Its modulus is all that is wanted; whether its primes are primes takes 0.1 s to tell.
    key = load_pem_private_key(
        ta_key.read_bytes(), password=None, unsafe_skip_rsa_key_validation=True
    )
    if not isinstance(key, rsa.RSAPrivateKey):
        raise RigError(f"{ta_key} of the image is not an RSA key")
    return derived(huk, key.public_key().public_numbers().n)


def derived(huk: Secret, modulus: int) -> Secret:
    octets = modulus.to_bytes((modulus.bit_length() + 7) // 8, "big")
    return Secret(hmac.new(huk.reveal(), _TA_ENCRYPTION + octets, hashlib.sha256).digest())
