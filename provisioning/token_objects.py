"""More verbs of the token worker: secret keys, keys from outside, and data objects.

Runs inside the worker process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from provisioning.token_ckr import RefusedCall
from provisioning.token_make import make_secret, named_template

APPLICATION = "trustbox"
"""CKA_APPLICATION of every data object that is ours."""


class ObjectCalls:
    """``session``, ``objects`` and ``one`` are TokenCalls' ways to its session and objects."""

    def __init__(
        self,
        session: Callable[[], Any],
        objects: Callable[[Mapping[Attribute, object]], list[Any]],
        one: Callable[[str, bytes], Any],
    ) -> None:
        self._session, self._objects, self._one = session, objects, one

    def verbs(self) -> Mapping[str, Callable[..., object]]:
        return {
            "generate_secret": self.generate_secret,
            "mac": self.mac,
            "encrypt": self.encrypt,
            "round_trip": self.round_trip,
            "import_ec": self.import_ec,
            "store_data": self.store_data,
            "data": self.data,
            "data_listed": self.data_listed,
            "destroy_data": self.destroy_data,
        }

    def generate_secret(
        self, id: bytes, label: str, kind: str, bits: int, template: dict[str, bool]
    ) -> None:  # fmt: skip
        """A key made in the token: for AES, or for HMAC."""
        named = named_template(template)
        make_secret(self._session(), named, kind=kind, bits=bits, id=id, label=label, store=True)

    def mac(self, id: bytes, data: bytes) -> bytes:
        """HMAC-SHA-256 of data with a secret key."""
        return bytes(able(self._one("secret", id), "sign")(data, mechanism=Mechanism.SHA256_HMAC))

    def encrypt(self, id: bytes, block: bytes) -> bytes:
        return bytes(able(self._one("secret", id), "encrypt")(block, mechanism=Mechanism.AES_ECB))

    def round_trip(self, id: bytes, block: bytes) -> bool:
        """Whether the AES key encrypts a block into another one, and that back again."""
        key = self._one("secret", id)
        out = bytes(able(key, "encrypt")(block, mechanism=Mechanism.AES_ECB))
        back = bytes(able(key, "decrypt")(out, mechanism=Mechanism.AES_ECB))
        return out != block and back == block

    def import_ec(
        self, id: bytes, label: str, curve: str, value: bytes, point: bytes,
        template: dict[str, bool],
    ) -> None:  # fmt: skip
        """Both halves of a pair that was made elsewhere (C_CreateObject), the public one first."""
        common = {
            Attribute.KEY_TYPE: KeyType.EC,
            Attribute.TOKEN: True,
            Attribute.ID: id,
            Attribute.LABEL: label,
            Attribute.EC_PARAMS: encode_named_curve_parameters(curve),
        }
        session = self._session()
        session.create_object(
            {
                **common,
                Attribute.CLASS: ObjectClass.PUBLIC_KEY,
                Attribute.EC_POINT: point,
                Attribute.VERIFY: True,
            }
        )
        session.create_object(
            {
                **common,
                Attribute.CLASS: ObjectClass.PRIVATE_KEY,
                Attribute.VALUE: value,
                Attribute.SIGN: True,
                **({Attribute[name]: wanted for name, wanted in template.items()}),
            }
        )

    def store_data(self, label: str, value: bytes) -> None:
        """Replace our data object of that label; private, so that it shows to its user only."""
        before = self._data(label)
        self._session().create_object(
            {
                Attribute.CLASS: ObjectClass.DATA,
                Attribute.TOKEN: True,
                Attribute.PRIVATE: True,
                Attribute.LABEL: label,
                Attribute.APPLICATION: APPLICATION,
                Attribute.VALUE: value,
            }
        )
        for old in before:
            old.destroy()

    def data(self, label: str) -> bytes | None:
        found = self._data(label)
        if len(found) > 1:
            raise pkcs11.MultipleObjectsReturned
        return bytes(found[0][Attribute.VALUE]) if found else None

    def data_listed(self) -> list[dict[str, object]]:
        """Label and octets of every data object that is ours."""
        ours = {Attribute.CLASS: ObjectClass.DATA, Attribute.APPLICATION: APPLICATION}
        return [
            {"label": str(item[Attribute.LABEL]), "octets": len(bytes(item[Attribute.VALUE]))}
            for item in self._objects(ours)
        ]

    def destroy_data(self, label: str) -> int:
        found = self._data(label)
        for item in found:
            item.destroy()
        return len(found)

    def _data(self, label: str) -> list[Any]:
        return self._objects(
            {
                Attribute.CLASS: ObjectClass.DATA,
                Attribute.APPLICATION: APPLICATION,
                Attribute.LABEL: label,
            }
        )


def able(key: Any, verb: str) -> Any:
    """The key's verb; python-pkcs11 gives a key those only that its attributes allow."""
    found = getattr(key, verb, None)
    if found is None:
        raise RefusedCall(0x068)  # CKR_KEY_FUNCTION_NOT_PERMITTED, which the token would say
    return found
