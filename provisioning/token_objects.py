"""More verbs of the token worker: secret keys, keys from outside, data objects, and probes.

Runs inside the worker process. A probe never brings a key out of the worker: what the module gave
by mistake is counted and dropped here.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

import pkcs11
from cryptography.hazmat.primitives.asymmetric import rsa
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.constants import DEFAULT
from pkcs11.util.ec import encode_named_curve_parameters

from provisioning.token_ckr import RefusedCall, ckr_name
from provisioning.token_protocol import Malformed

APPLICATION = "trustbox"
"""CKA_APPLICATION of every data object that is ours."""

_BLOCK = 16
_SECRETS = {
    "aes": (KeyType.AES, MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT),
    "hmac": (KeyType.GENERIC_SECRET, MechanismFlag.SIGN | MechanismFlag.VERIFY),
}


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
            "wrap_probe": self.wrap_probe,
            "forge_local": self.forge_local,
            "store_data": self.store_data,
            "data": self.data,
            "data_listed": self.data_listed,
            "destroy_data": self.destroy_data,
        }

    def generate_secret(
        self, id: bytes, label: str, kind: str, bits: int, template: dict[str, bool]
    ) -> None:  # fmt: skip
        """A key made in the token: for AES, or for HMAC."""
        key_type, usage = _SECRETS[kind]
        self._session().generate_key(
            key_type,
            bits,
            id=id,
            label=label,
            store=True,
            capabilities=usage,
            template=named_template(template),
        )

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

    def wrap_probe(self, kind: str, id: bytes) -> dict[str, object]:
        """Try to take the key out, wrapped under a key of ours (C_WrapKey).

        ``mechanism``: with what it was tried, "" when the module has nothing to wrap with;
        ``ckr``: the refusal, "" when it gave ``octets`` of wrapped key.
        """
        wanted, session = self._one(kind, id), self._session()
        able = session.token.slot.get_mechanisms()
        answer: dict[str, object] = {"mechanism": "", "ckr": "", "octets": 0}
        for mechanism, make in _WRAPPING:
            if mechanism not in able:
                continue
            answer = _wrapped(make(session), wanted, mechanism)
            if answer["ckr"] not in _CANNOT_WRAP:  # flags do not tell: some modules lie
                break
        return answer

    def forge_local(self) -> str:
        """Try to bring in a key that claims to have been made here; the refusal, "" if it worked.

        A session object, so that nothing stays if a module believes it.
        """
        try:
            made = self._session().create_object(
                {
                    Attribute.CLASS: ObjectClass.SECRET_KEY,
                    Attribute.KEY_TYPE: KeyType.GENERIC_SECRET,
                    Attribute.TOKEN: False,
                    Attribute.LOCAL: True,
                    Attribute.VALUE: secrets.token_bytes(32),
                }
            )
        except pkcs11.PKCS11Error as problem:
            return ckr_name(problem)
        made.destroy()
        return ""

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


def named_template(template: Mapping[str, bool]) -> dict[Attribute, object]:
    """By attribute. SENSITIVE is left out unless it is named: python-pkcs11 would add it."""
    try:
        named = {Attribute[name]: wanted for name, wanted in template.items()}
    except KeyError:
        raise Malformed("no such attribute in a template") from None
    return {Attribute.SENSITIVE: DEFAULT, Attribute.PRIVATE: DEFAULT, **named}


def _our_aes(session: Any) -> Any:
    return session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.TOKEN: False,
            Attribute.WRAP: True,
            Attribute.VALUE: secrets.token_bytes(2 * _BLOCK),
        }
    )


def _our_rsa(session: Any) -> Any:
    """The public half of a pair whose other half nobody keeps."""
    numbers = rsa.generate_private_key(65537, 2048).public_key().public_numbers()
    return session.create_object(
        {
            Attribute.CLASS: ObjectClass.PUBLIC_KEY,
            Attribute.KEY_TYPE: KeyType.RSA,
            Attribute.TOKEN: False,
            Attribute.WRAP: True,
            Attribute.MODULUS: numbers.n.to_bytes(256, "big"),
            Attribute.PUBLIC_EXPONENT: numbers.e.to_bytes(3, "big"),
        }
    )


def _wrapped(under: Any, wanted: Any, mechanism: Mechanism) -> dict[str, object]:
    try:
        given = under.wrap_key(wanted, mechanism=mechanism)
    except pkcs11.PKCS11Error as problem:
        return {"mechanism": f"CKM_{mechanism.name}", "ckr": ckr_name(problem), "octets": 0}
    finally:
        under.destroy()
    return {"mechanism": f"CKM_{mechanism.name}", "ckr": "", "octets": len(given)}


_WRAPPING: tuple[tuple[Mechanism, Callable[[Any], Any]], ...] = (
    (Mechanism.AES_KEY_WRAP_PAD, _our_aes),
    (Mechanism.AES_KEY_WRAP, _our_aes),
    (Mechanism.AES_ECB, _our_aes),
    (Mechanism.RSA_PKCS, _our_rsa),
)
"""What to wrap with, in order; all without parameters, which p11-kit 0.24 would not carry."""

_CANNOT_WRAP = frozenset(
    {
        "CKR_FUNCTION_NOT_SUPPORTED",
        "CKR_MECHANISM_INVALID",
        "CKR_MECHANISM_PARAM_INVALID",
        "CKR_WRAPPING_KEY_TYPE_INCONSISTENT",
    }
)
"""About the mechanism, not about the key."""
