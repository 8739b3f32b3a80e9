"""A secret that the factory made, brought into the box's token under RSA-AES key wrap.

CKM_RSA_AES_KEY_WRAP (PKCS#11 v2.40, 2.1.20): an AES-256 key under RSA-OAEP, and the secret under
that key with padding (RFC 5649). The secret is in clear on this host and in the TEE only. What the
wrap does not prove is whose the RSA key is: its public half comes through the box's normal world,
so import in the factory, before anybody else had the box. What the token asserts of the pair is
judged before anything is wrapped for it: one that came from outside is refused.

p11-kit 0.24 does not carry the mechanism, so this goes to OP-TEE's TA itself.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from harness.deadline import Deadline
from harness.errors import BadFrame, IntegrityFailure, Misuse
from harness.secret import Secret
from harness.target import Target
from provisioning.key_evidence import CHECKED, examine_unused
from provisioning.key_verdict import KeyVerdict, verdict_of
from provisioning.pin_budget import PinBudget
from provisioning.pkcs11_ta import Attributes, Cka, Pkcs11Ta, Who
from provisioning.token import Token
from provisioning.token_secrets import SecretProfile
from provisioning.token_state import TokenState

WRAPPING_LABEL = "trustbox import"
WRAPPING_ID = b"trustbox-import"
"""The RSA pair that secrets are wrapped for: made in the token once, for unwrapping only."""

_RSA_PKCS_KEY_PAIR_GEN, _RSA_AES_KEY_WRAP, _SHA256, _MGF1_SHA256 = 0x0, 0x1054, 0x250, 0x2
_PUBLIC, _PRIVATE, _SECRET = 2, 3, 4
_KEY_TYPES = {SecretProfile.AES_256: 0x1F, SecretProfile.HMAC_256: 0x10}
_BITS = 2048
_SOMEBODY_ELSES = (
    "Somebody may have put it there to read what is imported: nothing was wrapped for it. Look at"
    f" it (trustbox keys evidence {WRAPPING_ID.hex()}), then erase it (trustbox keys erase); the"
    " next import makes one in the token."
)


def import_secret(
    target: Target,
    token: TokenState,
    pin: Secret,
    value: Secret,
    *,
    judge: Callable[[], None],
    id: bytes,
    label: str,
    profile: SecretProfile = SecretProfile.AES_256,
    budget: PinBudget | None = None,
    by: Deadline,
) -> None:
    """Put a secret key of 32 octets into the token, sensitive and not extractable.

    Its evidence will be ``imported``: LOCAL is false. The first import of a token makes its RSA
    key, which takes a TEE seconds to half a minute. ``judge`` raises for a pair that nothing may be
    wrapped for (``judge_wrapping_pair``). Raises Misuse when the token has a secret key of this
    CKA_ID, IntegrityFailure, TokenRefused, TeeRefused, LinkError.
    """
    if len(value.reveal()) * 8 != profile.bits:
        raise Misuse(f"a secret for {profile.value} has {profile.bits // 8} octets")
    with Pkcs11Ta.open(target, by=by) as ta:
        session = ta.open_session(token.slot)
        if budget is None:
            ta.login(session, Who.USER, pin)
        else:
            with budget.trying(
                token, "user", doing=f"importing a key into token {token.label}", by=by
            ):
                ta.login(session, Who.USER, pin)
        if ta.find(session, {Cka.ID: id}):
            raise Misuse(
                f"the token {token.label} has something of id {id.hex()} ({label}) already",
                hint="Nothing was changed. trustbox keys list shows it; import under another"
                " purpose, or erase it first.",
            )
        public, private = _wrapping_pair(ta, session)
        judge()
        if ta.attribute(session, private, Cka.MODULUS) != ta.attribute(
            session, public, Cka.MODULUS
        ):
            raise IntegrityFailure(
                "the token's import key has two halves that are not of one pair",
                hint=_SOMEBODY_ELSES,
            )
        parameters = struct.pack("<IIIII", 256, _SHA256, _MGF1_SHA256, 1, 0)
        wrapped = wrap(value, _public_key(ta, session, public))
        ta.unwrap(
            session, private, _RSA_AES_KEY_WRAP, parameters, wrapped, _wanted(id, label, profile)
        )


def holds(token: Token, id: bytes, value: Secret, *, by: Deadline) -> bool:
    """Whether the token's AES key of this CKA_ID is just this one, by what it makes of a block."""
    block = CHECKED[:16]
    encryptor = Cipher(algorithms.AES(value.reveal()), modes.CBC(bytes(16))).encryptor()
    ours = encryptor.update(block) + encryptor.finalize()  # of one block, CBC from zeros is ECB
    return token.encrypt(id, block, by=by) == ours


def judge_wrapping_pair(token: Token, *, by: Deadline) -> None:
    """Raises IntegrityFailure unless the token, which is logged in to, asserts that the pair of
    WRAPPING_ID was made in it and cannot leave it, and refuses what it must refuse.
    """
    pair = token.find(WRAPPING_ID, by=by)
    if pair is None:
        raise IntegrityFailure("the token does not show the pair that secrets are wrapped for")
    reasons = examine_unused(token, pair, by=by)
    if (verdict := verdict_of(reasons)) is not KeyVerdict.MADE_INSIDE:
        raise IntegrityFailure(
            f"the token's import key is {verdict.value}: {reasons[0].text}",
            hint=_SOMEBODY_ELSES + " " + "; ".join(reason.text for reason in reasons[1:]),
        )


def wrap(value: Secret, key: rsa.RSAPublicKey) -> bytes:
    """The octets that CKM_RSA_AES_KEY_WRAP unwraps: a new AES key each time."""
    between = secrets.token_bytes(32)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    return key.encrypt(between, oaep) + aes_key_wrap_with_padding(between, value.reveal())


def _wrapping_pair(ta: Pkcs11Ta, session: int) -> tuple[int, int]:
    """Handles of its public and its private half; what a power cut left over is removed first."""
    named: Attributes = {Cka.ID: WRAPPING_ID}
    public = ta.find(session, {Cka.CLASS: _PUBLIC, **named})
    private = ta.find(session, {Cka.CLASS: _PRIVATE, **named})
    if len(public) == 1 and len(private) == 1:
        return public[0], private[0]
    if private:
        raise Misuse(
            f"the token has {len(private)} private and {len(public)} public import keys, expected"
            " one of each",
            hint="Somebody must look: trustbox keys list shows them.",
        )
    for orphan in public:
        ta.destroy(session, orphan)
    common: Attributes = {Cka.TOKEN: True, Cka.ID: WRAPPING_ID, Cka.LABEL: WRAPPING_LABEL.encode()}
    return ta.generate_pair(
        session,
        _RSA_PKCS_KEY_PAIR_GEN,
        {
            **common,
            Cka.MODULUS_BITS: _BITS,
            Cka.PUBLIC_EXPONENT: (65537).to_bytes(3, "big"),
            Cka.WRAP: True,
        },
        {
            **common,
            Cka.PRIVATE: True,
            Cka.SENSITIVE: True,
            Cka.EXTRACTABLE: False,
            Cka.MODIFIABLE: False,
            Cka.UNWRAP: True,
        },
    )


def _public_key(ta: Pkcs11Ta, session: int, handle: int) -> rsa.RSAPublicKey:
    modulus = int.from_bytes(ta.attribute(session, handle, Cka.MODULUS), "big")
    if modulus.bit_length() != _BITS:
        raise BadFrame(f"the token's import key has {modulus.bit_length()} bits, not {_BITS}")
    return rsa.RSAPublicNumbers(65537, modulus).public_key()


def _wanted(id: bytes, label: str, profile: SecretProfile) -> Attributes:
    usage: Attributes = {Cka.ENCRYPT: True, Cka.DECRYPT: True}
    if profile is SecretProfile.HMAC_256:
        usage = {Cka.SIGN: True, Cka.VERIFY: True}
    return {
        Cka.CLASS: _SECRET,
        Cka.KEY_TYPE: _KEY_TYPES[profile],
        Cka.TOKEN: True,
        Cka.PRIVATE: True,
        Cka.SENSITIVE: True,
        Cka.EXTRACTABLE: False,
        Cka.MODIFIABLE: False,
        Cka.ID: id,
        Cka.LABEL: label.encode(),
        **usage,
    }
