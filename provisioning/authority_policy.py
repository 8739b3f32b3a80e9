"""The key policy: which keys the CAs and the boxes may have, for how long, and for what. Pure.

``trustbox ca show --policy`` prints it; docs/factory-ca.md explains it.
"""

from __future__ import annotations

from dataclasses import dataclass

from provisioning.token_public import KeyProfile

OPTIONAL_DEVICE_KEYS = (KeyProfile.ED25519,)
"""For boxes only when the CA was set up so: not every verifier of TLS clients knows them."""


@dataclass(frozen=True, slots=True)
class KeyRule:
    """One row of the table. ``days`` None: no end. ``path_length`` None: not a CA."""

    role: str
    kept: str
    allowed: tuple[KeyProfile, ...]
    default: KeyProfile
    path_length: int | None
    days: int | None
    usage: str

    def to_dict(self) -> dict[str, object]:
        return {
            "role": self.role,
            "kept": self.kept,
            "allowed": [profile.value for profile in self.allowed],
            "default": self.default.value,
            "signature_hash": {p.value: p.hash.name if p.hash else None for p in self.allowed},
            "path_length": self.path_length,
            "days": self.days,
            "usage": self.usage,
        }


_CA_KEYS = (
    KeyProfile.EC_P256,
    KeyProfile.EC_P384,
    KeyProfile.RSA_3072,
    KeyProfile.RSA_4096,
)
ROOT = KeyRule(
    role="root",
    kept="offline token, plugged in for a ceremony",
    allowed=_CA_KEYS,
    default=KeyProfile.EC_P384,
    path_length=1,
    days=None,
    usage="keyCertSign, cRLSign",
)
ISSUING = KeyRule(
    role="issuing",
    kept="line token",
    allowed=_CA_KEYS,
    default=KeyProfile.EC_P256,
    path_length=0,
    days=7300,
    usage="keyCertSign, cRLSign",
)
DEVICE = KeyRule(
    role="device",
    kept="the box's own token, made there",
    allowed=(
        KeyProfile.EC_P256,
        KeyProfile.EC_P384,
        KeyProfile.RSA_2048,
        KeyProfile.RSA_3072,
    ),
    default=KeyProfile.EC_P256,
    path_length=None,
    days=3650,
    usage="digitalSignature; clientAuth",
)
POLICY = (ROOT, ISSUING, DEVICE)

MADE_SO = {
    "LOCAL": True,
    "TOKEN": True,
    "PRIVATE": True,
    "SENSITIVE": True,
    "ALWAYS_SENSITIVE": True,
    "EXTRACTABLE": False,
    "NEVER_EXTRACTABLE": True,
}
"""PKCS#11 attributes of every CA key, read back after it was made and whenever it is audited."""
