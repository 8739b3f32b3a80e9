"""Key pairs as a token shows them: which kinds there are, and their public halves. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from asn1crypto import core
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from harness.errors import BadFrame, DeviceRefused, Misuse

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
_CURVES: Mapping[str, tuple[str, type[ec.EllipticCurve]]] = {
    "1.2.840.10045.3.1.7": ("secp256r1", ec.SECP256R1),
    "1.3.132.0.34": ("secp384r1", ec.SECP384R1),
}
_EXPONENT = 65537


class KeyProfile(Enum):
    """The kinds of keys that are made here. RSA always has the exponent 65537."""

    EC_P256 = "ec-p256"
    EC_P384 = "ec-p384"
    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_4096 = "rsa-4096"
    ED25519 = "ed25519"

    @property
    def hash(self) -> hashes.SHA256 | hashes.SHA384 | None:
        """What a signature with such a key hashes with; None: Ed25519 hashes by itself."""
        if self is KeyProfile.ED25519:
            return None
        return hashes.SHA384() if self is KeyProfile.EC_P384 else hashes.SHA256()

    @property
    def template(self) -> Mapping[str, object]:
        """What the token worker's ``generate`` is told."""
        kind, _, size = self.value.partition("-")
        if kind == "rsa":
            return {"kind": kind, "bits": int(size)}
        curve = {"p256": "secp256r1", "p384": "secp384r1"}.get(size, "edwards25519")
        return {"kind": kind, "curve": curve}

    @classmethod
    def of(cls, key: object) -> KeyProfile | None:
        """The profile of a public key of any kind; None when it is none of these."""
        if isinstance(key, ec.EllipticCurvePublicKey):
            return {"secp256r1": cls.EC_P256, "secp384r1": cls.EC_P384}.get(key.curve.name)
        if isinstance(key, rsa.RSAPublicKey) and key.public_numbers().e == _EXPONENT:
            sizes = {2048: cls.RSA_2048, 3072: cls.RSA_3072, 4096: cls.RSA_4096}
            return sizes.get(key.key_size)
        return cls.ED25519 if isinstance(key, ed25519.Ed25519PublicKey) else None


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A pair in a token: its CKA_ID, its label and its public half."""

    id: bytes
    label: str
    public_key: PublicKey
    template: str | None = field(default=None, compare=False)
    """The template that it was made with just now; None for one that was found."""

    @property
    def profile(self) -> KeyProfile:
        found = KeyProfile.of(self.public_key)
        if found is None:
            raise Misuse(f"the key of id {self.id.hex()} is of no kind that is used here")
        return found

    @property
    def spki(self) -> bytes:
        """SubjectPublicKeyInfo, DER."""
        return spki(self.public_key)

    @property
    def spki_sha256(self) -> str:
        return spki_sha256(self.public_key)


def spki(key: PublicKey) -> bytes:
    """SubjectPublicKeyInfo, DER."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def spki_sha256(key: PublicKey) -> str:
    """Hexadecimal."""
    return hashlib.sha256(spki(key)).hexdigest()


def shown_pair(id: bytes, shown: Mapping[str, object]) -> KeyPair:
    """The pair of a public key object. Raises DeviceRefused for a kind that is not used here,
    BadFrame for what cannot be a key.
    """
    label, kind = shown.get("label"), shown.get("key")
    if not isinstance(label, str):
        raise BadFrame("the token's public key has no label")
    try:
        match kind:
            case "ec":
                made: PublicKey = _ec(shown)
            case "rsa":
                made = rsa.RSAPublicNumbers(
                    int.from_bytes(_octets(shown, "exponent"), "big"),
                    int.from_bytes(_octets(shown, "modulus"), "big"),
                ).public_key()
            case "ed25519":
                made = ed25519.Ed25519PublicKey.from_public_bytes(_point(shown))
            case _:
                raise DeviceRefused(f"the key of id {id.hex()} is of no kind that is used here")
    except (ValueError, TypeError) as problem:
        raise BadFrame("the token's public key cannot be read") from problem
    if KeyProfile.of(made) is None:
        raise DeviceRefused(f"the key of id {id.hex()} is of no kind that is used here")
    return KeyPair(id, label, made)


def verifies(key: PublicKey, signature: bytes, digest: bytes) -> bool:
    """Whether a signature over a SHA-256 digest was made by the key's private half.

    EC: ECDSA, DER. RSA: PKCS #1 v1.5. Ed25519 signs the digest as if it were the message.
    """
    hashed = utils.Prehashed(hashes.SHA256())
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, digest, ec.ECDSA(hashed))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, digest, padding.PKCS1v15(), hashed)
        else:
            key.verify(signature, digest)
    except InvalidSignature:
        return False
    return True


def _ec(shown: Mapping[str, object]) -> ec.EllipticCurvePublicKey:
    """CKA_EC_PARAMS is the curve's OID, CKA_EC_POINT an OCTET STRING around the uncompressed
    point (PKCS#11 v2.40, 2.3.3).
    """
    named = core.ObjectIdentifier.load(_octets(shown, "curve"), strict=True).dotted
    if named not in _CURVES:
        raise DeviceRefused(f"the token's key is on the curve {named}, which is not used here")
    return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[named][1](), _point(shown))


def _point(shown: Mapping[str, object]) -> bytes:
    return bytes(core.OctetString.load(_octets(shown, "point"), strict=True).native)


def _octets(shown: Mapping[str, object], name: str) -> bytes:
    value = shown.get(name)
    if not isinstance(value, bytes):
        raise ValueError(name)
    return value
