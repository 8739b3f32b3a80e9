"""Names of PKCS#11 return values, from the exceptions that python-pkcs11 makes of them."""

from __future__ import annotations

import re

import pkcs11

_ODD = {
    "AnotherUserAlreadyLoggedIn": "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
    "RandomNoRNG": "CKR_RANDOM_NO_RNG",
    "SessionReadWriteSOExists": "CKR_SESSION_READ_WRITE_SO_EXISTS",
    "TokenNotRecognised": "CKR_TOKEN_NOT_RECOGNIZED",
    "FunctionCancelled": "CKR_FUNCTION_CANCELED",
    "SlotIDInvalid": "CKR_SLOT_ID_INVALID",
}

# What C_Initialize and C_InitToken answer; python-pkcs11 does not make those calls for us
# (PKCS#11 v2.40 base specification, 5.1 and pkcs11t.h).
_NUMBERS = {
    0x003: "CKR_SLOT_ID_INVALID",
    0x005: "CKR_GENERAL_ERROR",
    0x006: "CKR_FUNCTION_FAILED",
    0x007: "CKR_ARGUMENTS_BAD",
    0x01B: "CKR_ACTION_PROHIBITED",
    0x030: "CKR_DEVICE_ERROR",
    0x031: "CKR_DEVICE_MEMORY",
    0x032: "CKR_DEVICE_REMOVED",
    0x054: "CKR_FUNCTION_NOT_SUPPORTED",
    0x0A0: "CKR_PIN_INCORRECT",
    0x0A1: "CKR_PIN_INVALID",
    0x0A2: "CKR_PIN_LEN_RANGE",
    0x0A4: "CKR_PIN_LOCKED",
    0x0B6: "CKR_SESSION_EXISTS",
    0x0E0: "CKR_TOKEN_NOT_PRESENT",
    0x0E1: "CKR_TOKEN_NOT_RECOGNIZED",
    0x0E2: "CKR_TOKEN_WRITE_PROTECTED",
    0x190: "CKR_CRYPTOKI_NOT_INITIALIZED",
    0x191: "CKR_CRYPTOKI_ALREADY_INITIALIZED",
}


class RefusedCall(pkcs11.PKCS11Error):
    """The answer of a call that was made past python-pkcs11."""

    def __init__(self, value: int) -> None:
        super().__init__()
        self.ckr = ckr_of(value)


def ckr_name(problem: pkcs11.PKCS11Error) -> str:
    """``PinIncorrect`` → ``CKR_PIN_INCORRECT``; a number without a class stays a number."""
    if isinstance(problem, RefusedCall):
        return problem.ckr
    kind = type(problem).__name__
    if kind == "PKCS11Error":
        number = re.search(r"\b(?:0x([0-9a-fA-F]{1,8})|(\d{1,10}))\b", str(problem))
        if number is None:
            return "CKR_GENERAL_ERROR"
        return ckr_of(int(number[1], 16) if number[1] else int(number[2]))
    return _ODD.get(kind) or "CKR_" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).upper()


def ckr_of(value: int) -> str:
    """The name of a raw return value."""
    return _NUMBERS.get(value, f"CKR_0x{value:08x}")
