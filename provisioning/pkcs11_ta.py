"""OP-TEE's PKCS#11 TA, spoken to without its library (ta/pkcs11/include/pkcs11_ta.h).

For what does not come through p11-kit: mechanisms that it cannot carry (ECDH, RSA-AES key wrap with
p11-kit 0.24), and calls that must be made exactly as they are, to see exactly what is answered.
Parameter 0 takes the serialised arguments and gives the PKCS#11 return value, parameter 1 takes
data and parameter 2 gives the answer. PINs and wrapped keys travel to the helper on the box and
into the TEE, and stand in no log.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum

from harness.deadline import Deadline
from harness.errors import BadFrame, TokenRefused
from harness.secret import Secret
from harness.target import Target
from harness.tee import TeeClient, TeeSession
from harness.tee_params import Direction, Memref
from provisioning.device_id import PKCS11_TA
from provisioning.tee_answers import octets
from provisioning.token_ckr import ckr_of
from provisioning.token_hints import hint_of

LABEL_OCTETS = 32
_MOST = 4096
_TOKEN_INFO = 160
"""sizeof(struct pkcs11_token_info); the TA takes no other size."""


class Call(IntEnum):
    """enum pkcs11_ta_cmd, those that are made here."""

    TOKEN_INFO = 3
    OPEN_SESSION = 6
    CLOSE_SESSION = 7
    CLOSE_ALL_SESSIONS = 8
    INIT_TOKEN = 10
    INIT_PIN = 11
    SET_PIN = 12
    LOGIN = 13
    LOGOUT = 14
    CREATE_OBJECT = 15
    DESTROY_OBJECT = 16
    SIGN_INIT = 25
    SIGN_ONESHOT = 31
    GENERATE_KEY = 33
    FIND_OBJECTS_INIT = 34
    FIND_OBJECTS = 35
    FIND_OBJECTS_FINAL = 36
    GET_ATTRIBUTE_VALUE = 38
    DERIVE_KEY = 43
    GENERATE_KEY_PAIR = 50
    WRAP_KEY = 51
    UNWRAP_KEY = 52


class Who(IntEnum):
    """CK_USER_TYPE."""

    SO = 0
    USER = 1


class Cka(IntEnum):
    """Attributes (PKCS#11 v2.40, pkcs11t.h), those that are used here."""

    CLASS = 0x000
    TOKEN = 0x001
    PRIVATE = 0x002
    LABEL = 0x003
    VALUE = 0x011
    KEY_TYPE = 0x100
    ID = 0x102
    SENSITIVE = 0x103
    ENCRYPT = 0x104
    DECRYPT = 0x105
    WRAP = 0x106
    UNWRAP = 0x107
    SIGN = 0x108
    VERIFY = 0x10A
    DERIVE = 0x10C
    MODULUS = 0x120
    MODULUS_BITS = 0x121
    PUBLIC_EXPONENT = 0x122
    PRIVATE_EXPONENT = 0x123
    VALUE_LEN = 0x161
    EXTRACTABLE = 0x162
    MODIFIABLE = 0x170
    COPYABLE = 0x171
    EC_PARAMS = 0x180
    EC_POINT = 0x181


Attributes = Mapping[Cka, bool | int | bytes]


class Pkcs11Ta:
    """One client of the TA: logins and sessions are its own. Every verb raises TokenRefused with
    the CKR's name, TeeRefused, LinkError and BoxDied.
    """

    def __init__(self, session: TeeSession, by: Deadline) -> None:
        """``by`` bounds every call."""
        self._session, self._by = session, by

    @classmethod
    @contextmanager
    def open(cls, target: Target, *, by: Deadline) -> Iterator[Pkcs11Ta]:
        with TeeClient.open(target, by=by) as client, client.open_session(PKCS11_TA, by=by) as it:
            yield cls(it, by)

    def init_token(self, slot: int, label: str, so_pin: Secret) -> None:
        """C_InitToken. With the right SO PIN it WIPES an initialised token: look first."""
        pin, padded = so_pin.reveal(), label.encode().ljust(LABEL_OCTETS)[:LABEL_OCTETS]
        self.call(Call.INIT_TOKEN, struct.pack("<II", slot, len(pin)) + padded + pin)

    def flags(self, slot: int) -> int:
        """CK_TOKEN_INFO.flags."""
        told = self.call(Call.TOKEN_INFO, struct.pack("<I", slot), room=_TOKEN_INFO)
        if len(told) != _TOKEN_INFO:
            raise BadFrame("the PKCS#11 TA's token information has another size")
        return int(struct.unpack_from("<I", told, 96)[0])

    def open_session(self, slot: int, *, rw: bool = True) -> int:
        return self._handle(Call.OPEN_SESSION, struct.pack("<II", slot, 4 | (2 if rw else 0)))

    def close_session(self, session: int) -> None:
        self.call(Call.CLOSE_SESSION, struct.pack("<I", session))

    def login(self, session: int, who: Who, pin: Secret) -> None:
        """C_Login. Never as SO to a token that is not initialised: the TA panics (PR 7901)."""
        told = pin.reveal()
        self.call(Call.LOGIN, struct.pack("<III", session, who, len(told)) + told)

    def logout(self, session: int) -> None:
        self.call(Call.LOGOUT, struct.pack("<I", session))

    def init_pin(self, session: int, pin: Secret) -> None:
        told = pin.reveal()
        self.call(Call.INIT_PIN, struct.pack("<II", session, len(told)) + told)

    def create(self, session: int, attributes: Attributes) -> int:
        return self._handle(Call.CREATE_OBJECT, struct.pack("<I", session) + packed(attributes))

    def destroy(self, session: int, handle: int) -> None:
        self.call(Call.DESTROY_OBJECT, struct.pack("<II", session, handle))

    def generate_key(self, session: int, mechanism: int, attributes: Attributes) -> int:
        head = struct.pack("<I", session) + named(mechanism)
        return self._handle(Call.GENERATE_KEY, head + packed(attributes))

    def generate_pair(
        self, session: int, mechanism: int, public: Attributes, private: Attributes
    ) -> tuple[int, int]:  # fmt: skip
        """Handles of the public and of the private key."""
        head = struct.pack("<I", session) + named(mechanism)
        told = self.call(Call.GENERATE_KEY_PAIR, head + packed(public) + packed(private), room=8)
        if len(told) != 8:
            raise BadFrame("the PKCS#11 TA shows no two handles")
        first, second = struct.unpack("<II", told)
        return first, second

    def find(self, session: int, attributes: Attributes) -> tuple[int, ...]:
        head = struct.pack("<I", session)
        self.call(Call.FIND_OBJECTS_INIT, head + packed(attributes))
        told = self.call(Call.FIND_OBJECTS, head, room=256)
        self.call(Call.FIND_OBJECTS_FINAL, head)
        return struct.unpack(f"<{len(told) // 4}I", told[: len(told) // 4 * 4])

    def attribute(self, session: int, handle: int, attribute: Cka, *, room: int = 512) -> bytes:
        """One attribute's octets."""
        asked = struct.pack("<IIII", 8 + room, 1, attribute, room) + bytes(room)
        head = struct.pack("<II", session, handle)
        told = self.call(Call.GET_ATTRIBUTE_VALUE, head + asked, room=len(asked))
        if len(told) < 16:
            raise BadFrame("the PKCS#11 TA's attribute cannot be read")
        size = struct.unpack_from("<I", told, 12)[0]
        if size > len(told) - 16:
            raise BadFrame("the PKCS#11 TA's attribute is longer than its answer")
        return told[16 : 16 + size]

    def sign_init(self, session: int, key: int, mechanism: int) -> None:
        self.call(Call.SIGN_INIT, struct.pack("<II", session, key) + named(mechanism))

    def sign(self, session: int, data: bytes) -> bytes:
        return self.call(Call.SIGN_ONESHOT, struct.pack("<I", session), data=data, room=512)

    def derive(
        self, session: int, key: int, mechanism: int, parameters: bytes, attributes: Attributes
    ) -> int:  # fmt: skip
        head = struct.pack("<II", session, key) + named(mechanism, parameters)
        return self._handle(Call.DERIVE_KEY, head + packed(attributes))

    def wrap(self, session: int, under: int, key: int, mechanism: int) -> bytes:
        head = struct.pack("<III", session, under, key)
        return self.call(Call.WRAP_KEY, head + named(mechanism), room=_MOST)

    def unwrap(
        self,
        session: int,
        under: int,
        mechanism: int,
        parameters: bytes,
        wrapped: bytes,
        attributes: Attributes,
    ) -> int:
        head = struct.pack("<II", session, under) + named(mechanism, parameters)
        return self._handle(Call.UNWRAP_KEY, head + packed(attributes), data=wrapped)

    def call(self, call: Call, control: bytes, *, data: bytes = b"", room: int = 0) -> bytes:
        """One call as it is; the octets of parameter 2. Raises TokenRefused."""
        doing = f"C_{call.name.title().replace('_', '')}"
        result = self._session.invoke(
            call,
            Memref(control, Direction.INOUT),
            Memref(data, Direction.IN) if data else None,
            Memref(room, Direction.OUT) if room else None,
            by=self._by,
        )
        result.check(doing)
        answer = octets(result, 0)
        if len(answer) != 4:
            raise BadFrame(f"{doing}: the PKCS#11 TA gave no return value")
        value = struct.unpack("<I", answer)[0]
        if value:
            raise TokenRefused(doing, ckr_of(value), hint=hint_of(ckr_of(value)))
        return octets(result, 2) if room else b""

    def _handle(self, call: Call, control: bytes, *, data: bytes = b"") -> int:
        told = self.call(call, control, data=data, room=4)
        if len(told) != 4:
            raise BadFrame(f"the PKCS#11 TA shows no handle after {call.name}")
        return int(struct.unpack("<I", told)[0])


def packed(attributes: Attributes) -> bytes:
    """struct pkcs11_object_head with its attributes: booleans take one octet, numbers four."""
    parts = b"".join(struct.pack("<II", id, len(v)) + v for id, v in _octets(attributes))
    return struct.pack("<II", len(parts), len(attributes)) + parts


def named(mechanism: int, parameters: bytes = b"") -> bytes:
    """struct pkcs11_attribute_head of a mechanism with its parameters."""
    return struct.pack("<II", mechanism, len(parameters)) + parameters


def _octets(attributes: Attributes) -> Iterator[tuple[int, bytes]]:
    for id, value in attributes.items():
        if isinstance(value, bool):
            yield id, bytes([value])
        else:
            yield id, value if isinstance(value, bytes) else struct.pack("<I", value)
