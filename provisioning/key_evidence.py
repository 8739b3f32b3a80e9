"""What is known about a key, and how: asserted by its token, or observed by us.

Attributes are self-asserted: any PKCS#11 module can claim them (device-facts 7(a)). They count
together with what was observed: that the value is withheld and the attributes cannot be loosened,
that the key answers a fresh challenge, and which module, on which TEE, said so.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from harness.deadline import Deadline
from provisioning.token import KeyPair, Token, verifies

EXPECTED: Mapping[str, object] = {
    "LOCAL": True,
    "SENSITIVE": True,
    "ALWAYS_SENSITIVE": True,
    "EXTRACTABLE": False,
    "NEVER_EXTRACTABLE": True,
    "PRIVATE": True,
    "TOKEN": True,
    "KEY_GEN_MECHANISM": 0x1040,
}
"""What a key made in the token and never to leave it asserts; 0x1040 is CKM_EC_KEY_PAIR_GEN."""

_LOOSENING_REFUSED = frozenset(
    {"CKR_ATTRIBUTE_READ_ONLY", "CKR_ACTION_PROHIBITED", "CKR_TEMPLATE_INCONSISTENT"}
)


@dataclass(frozen=True, slots=True)
class Probe:
    """Something that must be refused, was tried, and what came back (a CKR, or what was given)."""

    tried: str
    answer: str
    refused: bool


@dataclass(frozen=True, slots=True)
class KeyEvidence:
    """``asserted`` by the token; ``probes``, ``challenge`` and ``module_sha256`` observed by us.

    ``challenge`` is 32 random bytes of this host, ``signature`` the token's DER signature over
    their SHA-256, ``answered`` whether it verified here with the key's public half.
    """

    key: KeyPair
    asserted: Mapping[str, object]
    probes: tuple[Probe, ...]
    challenge: bytes
    signature: bytes
    answered: bool
    module: str
    module_sha256: str
    tee_uuid: UUID | None

    def faults(self) -> tuple[str, ...]:
        """One sentence for everything that is not as it must be; empty for a good key."""
        found = [
            f"the token asserts {name} = {self.asserted.get(name)}, expected {value}"
            for name, value in EXPECTED.items()
            if self.asserted.get(name) != value
        ]
        found += [f"{p.tried} was answered {p.answer}" for p in self.probes if not p.refused]
        if not self.answered:
            found.append("the signature over a fresh challenge does not verify")
        return tuple(found)


def examine(
    token: Token,
    key: KeyPair,
    *,
    module: str,
    module_sha256: str,
    tee_uuid: UUID | None,
    by: Deadline,
    challenge: Callable[[], bytes] = lambda: secrets.token_bytes(32),
) -> KeyEvidence:
    """Ask the token, try what must be refused, and have a fresh challenge signed."""
    asserted = dict(token.attributes(key.id, tuple(EXPECTED), by=by))
    value = token.attributes(key.id, ("VALUE",), by=by)["VALUE"]
    withheld = value == "CKR_ATTRIBUTE_SENSITIVE"
    loosened = token.refuses_to_set(key.id, "EXTRACTABLE", by=by)
    probes = (
        Probe("reading CKA_VALUE", value if isinstance(value, str) else "a value", withheld),
        Probe("setting CKA_EXTRACTABLE", loosened or "CKR_OK", loosened in _LOOSENING_REFUSED),
    )
    fresh = challenge()
    digest = hashlib.sha256(fresh).digest()
    signature = token.sign(key.id, digest, by=by)
    return KeyEvidence(
        key=key,
        asserted=asserted,
        probes=probes,
        challenge=fresh,
        signature=signature,
        answered=verifies(key.public_key, signature, digest),
        module=module,
        module_sha256=module_sha256,
        tee_uuid=tee_uuid,
    )
