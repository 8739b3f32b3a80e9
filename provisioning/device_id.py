"""The TEE's device UUID (GlobalPlatform property ``gpd.tee.deviceID``) of a delivered box.

The property is only shown to Trusted Applications. The PKCS#11 TA, which delivered boxes have,
passes it on in its slot description (OP-TEE ta/pkcs11/src/pkcs11_token.c, set_token_description).
"""

from __future__ import annotations

import re
from uuid import UUID

from harness.deadline import Deadline
from harness.errors import TeeRefused
from harness.tee import TeeClient
from harness.tee_codes import TeeCode
from harness.tee_params import Direction, Memref
from provisioning.tee_answers import octets

PKCS11_TA = UUID("fd02c9da-306c-48c7-a49c-bbd827ae86ee")
SLOT_INFO = 2
_SLOT_INFO_SIZE = 64 + 32 + 4 + 2 + 2
_DESCRIPTION = re.compile(
    rb"OP-TEE PKCS11 TA - TEE UUID ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)


def tee_uuid(client: TeeClient, *, by: Deadline) -> UUID | None:
    """The UUID, as the box asserts it; None when it has no PKCS#11 TA or tells none.

    Derived from the hardware unique key, so it tells boxes apart and shows one without a key.
    """
    try:
        session = client.open_session(PKCS11_TA, by=by)
    except TeeRefused as refused:
        if refused.code == TeeCode.ITEM_NOT_FOUND:
            return None
        raise
    with session:
        result = session.invoke(
            SLOT_INFO,
            Memref(bytes(4), Direction.INOUT),  # in: slot 0; out: the PKCS#11 return value
            None,
            Memref(_SLOT_INFO_SIZE, Direction.OUT),
            by=by,
        )
    result.check("reading the PKCS#11 slot's description")
    return described(octets(result, 2)[:64])


def described(description: bytes) -> UUID | None:
    """The UUID in a slot description, 64 characters padded with blanks."""
    found = _DESCRIPTION.fullmatch(description.rstrip(b" \0"))
    return UUID(found[1].decode()) if found else None
