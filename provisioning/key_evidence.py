"""What is known about a key, and how: asserted by its token, or observed by us.

Attributes are self-asserted: any PKCS#11 module can claim them (device-facts 7(a)). They count
together with what was observed: that the value is withheld, that a key made like it cannot be
loosened, that the key answers a fresh challenge, and which module, on which TEE, said so.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from uuid import UUID

from harness.deadline import Deadline
from harness.errors import TokenRefused
from provisioning.key_verdict import (
    ASKED,
    KeyVerdict,
    Probe,
    Reason,
    judged,
    verdict_of,
)
from provisioning.token import KeyPair, Token
from provisioning.token_key import prove
from provisioning.token_secrets import SecretKey
from provisioning.token_state import TokenState

_LOOSENING_REFUSED = frozenset(
    {"CKR_ATTRIBUTE_READ_ONLY", "CKR_ACTION_PROHIBITED", "CKR_TEMPLATE_INCONSISTENT"}
)
CHECKED = hashlib.sha256(b"trustbox key check value").digest()
"""What a secret key encrypts (the first 16 octets, of which no protocol makes a block) or MACs to
be known again. CKA_CHECK_VALUE would be three octets, which another key can have, and OP-TEE has
none; an encrypted block of zeros is GHASH's key."""
LOOSENING = "setting CKA_EXTRACTABLE of a key made like it"
"""Of a session key (CKA_TOKEN false) that is thrown away then: looking changes nothing, and on a
token that lets it be set, the key that is looked at must not become extractable by that."""
_NO_TWIN = "no such session key could be made"
_FORGING_REFUSED = _LOOSENING_REFUSED | {
    "CKR_ATTRIBUTE_TYPE_INVALID",
    "CKR_ATTRIBUTE_VALUE_INVALID",
}


@dataclass(frozen=True, slots=True)
class TokenCode:
    """Which code vouches for the key: the module's file, and the TA behind it where there is one.

    ``module_sha256`` is the digest of the file as the box tells it; ``ta_digest`` the header digest
    of the installed TA, from the attestation PTA (GET_TA_SHDR_DIGEST); ``ta_file_sha256`` of its
    file on the box. None: there is none, or the box cannot tell.
    """

    module: str
    module_sha256: str
    ta: UUID | None = None
    ta_digest: str | None = None
    ta_file_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class KeyEvidence:
    """``asserted`` by the token; ``probes``, ``challenge`` and its answer observed by us.

    ``challenge`` is 32 random bytes of this host, ``signature`` the token's over their SHA-256 and
    ``answered`` whether it verified here with the key's public half. A secret key encrypts and
    decrypts the challenge's first 16 bytes instead, or MACs it alike twice; then ``signature`` is
    empty, and all that was seen is that there is a key which works.
    """

    key: KeyPair | SecretKey
    asserted: Mapping[str, object]
    probes: tuple[Probe, ...]
    challenge: bytes
    signature: bytes
    answered: bool
    code: TokenCode
    token: TokenState | None
    check_value: bytes | None = None
    """Of a secret key, by which it is known again: what it makes of CHECKED."""

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Why the key is no better than its verdict; empty for a key that was made inside."""
        signs = not isinstance(self.key, KeyPair) or bool(self.signature)
        return judged(self.key, self.asserted, self.probes, answered=self.answered, signs=signs)

    @property
    def verdict(self) -> KeyVerdict:
        return verdict_of(self.reasons)

    @property
    def module(self) -> str:
        return self.code.module

    @property
    def module_sha256(self) -> str:
        return self.code.module_sha256

    @property
    def tee_uuid(self) -> UUID | None:
        return self.token.tee_uuid if self.token else None

    def faults(self) -> tuple[str, ...]:
        """One sentence for everything that is not as it must be; empty for a good key."""
        return tuple(reason.text for reason in self.reasons)

    def to_dict(self) -> dict[str, object]:
        """For JSON, what was asserted and what was observed told apart. No secret is in it."""
        key, pair = self.key, isinstance(self.key, KeyPair)
        return {
            "label": key.label,
            "cka_id": key.id.hex(),
            "profile": key.profile.value,
            "verdict": self.verdict.value,
            "reasons": [
                {"text": r.text, "known": r.known, "makes": r.makes.value} for r in self.reasons
            ],
            "asserted": {
                "attributes": dict(self.asserted),
                "spki": key.spki.hex() if isinstance(key, KeyPair) else None,
                "spki_sha256": key.spki_sha256 if isinstance(key, KeyPair) else None,
                "token_label": self.token.label if self.token else None,
                "token_serial": self.token.serial if self.token else None,
                "token_model": self.token.model if self.token else None,
                "tee_uuid": str(self.tee_uuid) if self.tee_uuid else None,
                "module": self.code.module,
                "module_sha256": self.code.module_sha256,
                "ta": str(self.code.ta) if self.code.ta else None,
                "ta_header_digest": self.code.ta_digest,
                "ta_file_sha256": self.code.ta_file_sha256,
            },
            "observed": {
                "probes": [probe.to_dict() for probe in self.probes],
                "challenge": self.challenge.hex(),
                "signature": self.signature.hex() if pair else None,
                "answered": self.answered,
                "check_value": self.check_value.hex() if self.check_value else None,
            },
        }


def examine(
    token: Token,
    key: KeyPair | SecretKey,
    *,
    code: TokenCode,
    state: TokenState | None,
    by: Deadline,
    challenge: Callable[[], bytes] = lambda: secrets.token_bytes(32),
) -> KeyEvidence:
    """Ask the token, try what must be refused, and have a fresh challenge answered.

    Nothing that the token keeps is changed: what writes is tried on session keys.
    """
    kind = "private" if isinstance(key, KeyPair) else "secret"
    asserted = dict(token.attributes(key.id, ASKED, kind=kind, by=by))
    probes = _probes(token, key, kind, by)
    fresh, check_value = challenge(), None
    try:
        signature, answered = _answer(token, key, fresh, by)
        if isinstance(key, SecretKey):
            check_value = _check_value(token, key, by)
    except TokenRefused as refused:
        if refused.ckr != "CKR_KEY_FUNCTION_NOT_PERMITTED":
            raise
        signature, answered = b"", False
    return KeyEvidence(
        key=key,
        asserted=asserted,
        probes=probes,
        challenge=fresh,
        signature=signature,
        answered=answered,
        code=code,
        token=state,
        check_value=check_value,
    )


def examine_unused(token: Token, key: KeyPair | SecretKey, *, by: Deadline) -> tuple[Reason, ...]:
    """What is not as it must be of a key that may not sign, as one that only unwraps: asked and
    tried as in ``examine``, but for the challenge, which it cannot answer.
    """
    kind = "private" if isinstance(key, KeyPair) else "secret"
    asserted = dict(token.attributes(key.id, ASKED, kind=kind, by=by))
    return judged(key, asserted, _probes(token, key, kind, by), answered=True)


def _answer(
    token: Token, key: KeyPair | SecretKey, fresh: bytes, by: Deadline
) -> tuple[bytes, bool]:
    if isinstance(key, KeyPair):
        return prove(token, key, fresh, by=by)
    if key.profile.kind == "hmac":
        return b"", token.mac(key.id, fresh, by=by) == token.mac(key.id, fresh, by=by)
    return b"", token.round_trip(key.id, fresh[:16], by=by)


def _check_value(token: Token, key: SecretKey, by: Deadline) -> bytes:
    if key.profile.kind == "hmac":
        return token.mac(key.id, CHECKED, by=by)
    return token.encrypt(key.id, CHECKED[:16], by=by)


def _probes(token: Token, key: KeyPair | SecretKey, kind: str, by: Deadline) -> tuple[Probe, ...]:
    id, rsa = key.id, key.profile.value.startswith("rsa-")
    # What the secret of a key is kept in (PKCS#11 2.40 mechanisms, 2.1.3 for RSA, 2.3.4 for EC).
    secret = "PRIVATE_EXPONENT" if rsa else "VALUE"
    value = token.attributes(id, (secret,), kind=kind, by=by)[secret]
    told = value if isinstance(value, str) else "a value"
    withheld = value == "CKR_ATTRIBUTE_SENSITIVE"
    wrapped = token.wrap_probe(kind, id, by=by)
    wrapping = wrapped.ckr or f"{wrapped.octets} octets of wrapped key"
    if not wrapped.mechanism:
        wrapping = "not tried: no mechanism for it reaches us"
    loosened = token.loosen_probe(kind, id, key.profile.template, by=by)
    forged = token.forge_local(by=by)
    return (
        Probe(f"reading CKA_{secret}", told, withheld, given=not isinstance(value, str)),
        Probe(
            f"C_WrapKey{f' with {wrapped.mechanism}' if wrapped.mechanism else ''}",
            wrapping,
            refused=wrapped.ckr == "CKR_KEY_UNEXTRACTABLE",
            given=bool(wrapped.mechanism and not wrapped.ckr),
            ran=bool(wrapped.mechanism),
        ),
        Probe(
            LOOSENING,
            f"{_NO_TWIN} ({loosened.made})" if loosened.made else loosened.ckr or "CKR_OK",
            refused=not loosened.made and loosened.ckr in _LOOSENING_REFUSED,
            given=not loosened.made and not loosened.ckr,
        ),
        Probe(
            "importing a key that claims CKA_LOCAL",
            forged or "CKR_OK",
            refused=forged in _FORGING_REFUSED,
            given=False,
        ),
    )
