"""What ``trustbox attest`` was asked, read from its options before any box is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from harness.errors import BadInput
from provisioning.evidence import NONCE_SIZES
from provisioning.pinned import read_pin
from provisioning.policy_file import Pinned, PolicyFile, read_policy

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Token:
    """Where the signed token goes, and the key that signs it."""

    path: Path
    key: Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command's options say, read and found right before a box is opened."""

    policy: PolicyFile
    pinned: Pinned | None
    nonce: bytes | None
    token: Token | None
    tee_only: bool

    @classmethod
    def read(
        cls,
        policy: Path,
        pin: Path | None,
        *,
        nonce: str | None,
        eat: Path | None,
        eat_key: Path | None,
        tee_only: bool,
    ) -> Self:
        """Raises BadInput."""
        return cls(
            read_policy(policy),
            read_pin(pin) if pin else None,
            read_nonce(nonce) if nonce is not None else None,
            _token(eat, eat_key) if eat is not None else None,
            tee_only,
        )


def read_nonce(text: str) -> bytes:
    """Raises BadInput."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) not in NONCE_SIZES:
        raise BadInput(
            where="--nonce", key="the nonce", value=text, expected="16 to 64 bytes in hex"
        )
    return found


def _token(path: Path, key: Path | None) -> Token:
    # Here: who wants no token need not wait for these and what they need to be imported.
    from provisioning.eat_key import NAME, signing_key
    from provisioning.station import Station

    return Token(path, signing_key(key or Station.default().state / NAME))
