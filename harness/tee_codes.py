"""Names for TEE results (GlobalPlatform TEE Internal Core API 1.3, table 3-6; OP-TEE 4.10)."""

from __future__ import annotations

from enum import IntEnum

SUCCESS = 0


class TeeCode(IntEnum):
    """A box may answer other numbers too: ``name_of`` gives "" for those."""

    SUCCESS = 0x00000000
    CORRUPT_OBJECT = 0xF0100001
    CORRUPT_OBJECT_2 = 0xF0100002
    STORAGE_NOT_AVAILABLE = 0xF0100003
    STORAGE_NOT_AVAILABLE_2 = 0xF0100004
    UNSUPPORTED_VERSION = 0xF0100005
    CIPHERTEXT_INVALID = 0xF0100006
    GENERIC = 0xFFFF0000
    ACCESS_DENIED = 0xFFFF0001
    CANCEL = 0xFFFF0002
    ACCESS_CONFLICT = 0xFFFF0003
    EXCESS_DATA = 0xFFFF0004
    BAD_FORMAT = 0xFFFF0005
    BAD_PARAMETERS = 0xFFFF0006
    BAD_STATE = 0xFFFF0007
    ITEM_NOT_FOUND = 0xFFFF0008
    NOT_IMPLEMENTED = 0xFFFF0009
    NOT_SUPPORTED = 0xFFFF000A
    NO_DATA = 0xFFFF000B
    OUT_OF_MEMORY = 0xFFFF000C
    BUSY = 0xFFFF000D
    COMMUNICATION = 0xFFFF000E
    SECURITY = 0xFFFF000F
    SHORT_BUFFER = 0xFFFF0010
    EXTERNAL_CANCEL = 0xFFFF0011
    TIMEOUT = 0xFFFF3001
    OVERFLOW = 0xFFFF300F
    TARGET_DEAD = 0xFFFF3024
    STORAGE_NO_SPACE = 0xFFFF3041
    MAC_INVALID = 0xFFFF3071
    SIGNATURE_INVALID = 0xFFFF3072
    TIME_NOT_SET = 0xFFFF5000
    TIME_NEEDS_RESET = 0xFFFF5001


class TeeOrigin(IntEnum):
    """Who made the result (GlobalPlatform TEE Client API 1.0, 4.4.3)."""

    API = 1
    COMMS = 2
    TEE = 3
    TRUSTED_APP = 4


def name_of(code: int) -> str:
    """``TEE_ERROR_ITEM_NOT_FOUND`` and the like; "" for a number without a name."""
    try:
        name = TeeCode(code).name
    except ValueError:
        return ""
    return "TEE_SUCCESS" if code == SUCCESS else f"TEE_ERROR_{name}"
