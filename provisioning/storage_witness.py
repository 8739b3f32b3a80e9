"""What must still be in a TEE's storage at a later look, where it was there at an earlier one.

OP-TEE makes a storage that it cannot read anew (3.6 without a word, 4.10 after one refusal), and
what is asked of it afterwards is answered without an error. So something that was put there has to
be there still: its tokens are, which can be asked for without a PIN.
"""

from __future__ import annotations

import struct

from harness.deadline import Deadline
from harness.errors import BadFrame, TeeRefused
from harness.tee import TeeClient, TeeSession
from harness.tee_codes import TeeCode
from harness.tee_params import Direction, Memref
from provisioning.device_id import PKCS11_TA
from provisioning.tee_answers import octets

# OP-TEE ta/pkcs11/include/pkcs11_ta.h. Not by pkcs11_ta: that imports a PKCS#11 library.
_SLOT_LIST, _TOKEN_INFO = 1, 3
_SLOTS_ROOM, _TOKEN_ROOM = 64, 160
_LABEL, _FLAGS_AT, _INITIALISED = slice(32), 96, 0x400
"""struct pkcs11_token_info, and CKF_TOKEN_INITIALIZED."""


def initialised_tokens(client: TeeClient, *, by: Deadline) -> tuple[str, ...] | None:
    """``<slot> <label>`` of each, None where there is no PKCS#11 TA. Raises TeeRefused, BadFrame,
    LinkError, BoxDied, IntegrityFailure for an answer without its parts.
    """
    try:
        session = client.open_session(PKCS11_TA, by=by)
    except TeeRefused as refused:
        if refused.code == TeeCode.ITEM_NOT_FOUND:
            return None
        raise
    with session:
        slots = _asked(session, _SLOT_LIST, bytes(4), _SLOTS_ROOM, by)
        if len(slots) % 4:
            raise BadFrame("the PKCS#11 TA's list of slots cannot be read")
        found = []
        for (slot,) in struct.iter_unpack("<I", slots):
            told = _asked(session, _TOKEN_INFO, struct.pack("<I", slot), _TOKEN_ROOM, by)
            if len(told) != _TOKEN_ROOM:
                raise BadFrame("the PKCS#11 TA's token information has another size")
            if struct.unpack_from("<I", told, _FLAGS_AT)[0] & _INITIALISED:
                found.append(token_name(slot, told[_LABEL]))
    return tuple(found)


def _asked(session: TeeSession, command: int, control: bytes, room: int, by: Deadline) -> bytes:
    """Parameter 0 gives the PKCS#11 return value, parameter 2 the answer."""
    result = session.invoke(
        command, Memref(control, Direction.INOUT), None, Memref(room, Direction.OUT), by=by
    )
    result.check("asking the PKCS#11 TA for its tokens")
    if octets(result, 0) != bytes(4):
        raise BadFrame("the PKCS#11 TA does not tell its tokens")
    return octets(result, 2)


def token_name(slot: int, label: bytes | str) -> str:
    """A label's characters outside of printable ASCII, and blanks at its end, do not count."""
    text = label.decode(errors="replace") if isinstance(label, bytes) else label
    shown = "".join(char if " " <= char <= "~" else "?" for char in text.rstrip(" \0"))
    return f"{slot} {shown or '-'}"
