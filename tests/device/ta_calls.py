"""Arguments of calls to OP-TEE's PKCS#11 TA, as the cases of what it must refuse need them."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from provisioning.pkcs11_ta import Attributes, Cka

EC_KEY_PAIR_GEN, ECDSA, ECDH1_DERIVE, AES_ECB, SHA3_256 = 0x1040, 0x1041, 0x1050, 0x1081, 0x2B0
PUBLIC_KEY, PRIVATE_KEY, SECRET_KEY = 2, 3, 4
RSA, EC, GENERIC_SECRET, AES = 0, 3, 0x10, 0x1F
P256 = bytes.fromhex("06082a8648ce3d030107")


def aes(usage: Cka) -> Attributes:
    return {
        Cka.CLASS: SECRET_KEY, Cka.KEY_TYPE: AES, Cka.PRIVATE: True, usage: True,
        Cka.VALUE: bytes(range(32)),
    }  # fmt: skip


def shared() -> Attributes:
    return {Cka.CLASS: SECRET_KEY, Cka.KEY_TYPE: GENERIC_SECRET, Cka.VALUE_LEN: 32}


def rsa_private() -> Attributes:
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    return {
        Cka.CLASS: PRIVATE_KEY,
        Cka.KEY_TYPE: RSA,
        Cka.MODULUS: numbers.public_numbers.n.to_bytes(256, "big"),
        Cka.PUBLIC_EXPONENT: (65537).to_bytes(3, "big"),
        Cka.PRIVATE_EXPONENT: numbers.d.to_bytes(256, "big"),
    }


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def ecdh(theirs: bytes) -> bytes:
    """CK_ECDH1_DERIVE_PARAMS as the TA takes it: CKD_NULL, no shared data, the point."""
    words = (1, 0, len(theirs))
    return b"".join(word.to_bytes(4, "little") for word in words) + theirs
