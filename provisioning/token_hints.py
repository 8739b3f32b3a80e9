"""What a person can do about a token's answer: one table, whatever was asked of the token."""

from __future__ import annotations

_HINTS = {
    "CKR_MECHANISM_INVALID": "This token, or p11-kit on the way to it, does not do that. p11-kit"
    " 0.24 carries EC (P-256, P-384), RSA and AES, and no Ed25519.",
    "CKR_CURVE_NOT_SUPPORTED": "The token does not know this curve: choose another profile.",
    "CKR_KEY_SIZE_RANGE": "The token does not make keys of this size: choose another profile.",
    "CKR_DEVICE_MEMORY": "The token has no memory left. OP-TEE's keeps all of its objects in the"
    " heap of its TA, whose size is CFG_PKCS11_TA_HEAP_SIZE of the firmware's build. Erase what is"
    " not needed (trustbox keys list, trustbox keys data list), or have a firmware with a larger"
    " one. End programs on the box that keep a session with the TA, as IoT Edge's key service.",
    "CKR_USER_PIN_NOT_INITIALIZED": "The token has no user PIN yet: run trustbox provision again.",
}


def hint_of(ckr: str) -> str:
    """What a person can do about that answer, whatever was asked; "" where nothing is known."""
    return _HINTS.get(ckr, "")
