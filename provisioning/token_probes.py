"""Verbs of the token worker that try what a token must refuse. None of them changes what is kept.

Runs inside the worker process. What is written to is a session object of ours, gone when the probe
ends; a key that the token keeps is only read. What a module gave by mistake is counted and dropped
here: a probe never brings a key out of the worker.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pkcs11
from cryptography.hazmat.primitives.asymmetric import rsa
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from provisioning.token_ckr import ckr_name
from provisioning.token_make import make_pair, make_secret, named_template
from provisioning.token_template import TEMPLATE_REFUSED

_BLOCK = 16
_SHORT_RSA = 1024
"""Bits of the RSA pair that is thrown away: what a token lets be set does not hang on its size, and
a TEE makes a long one in half a minute."""


class ProbeCalls:
    """``session`` and ``one`` are TokenCalls' ways to its session and to an object."""

    def __init__(
        self, session: Callable[[], Any], one: Callable[[str, bytes], Any]
    ) -> None:  # fmt: skip
        self._session, self._one = session, one

    def verbs(self) -> Mapping[str, Callable[..., object]]:
        return {
            "wrap_probe": self.wrap_probe,
            "forge_local": self.forge_local,
            "loosen_probe": self.loosen_probe,
        }

    def loosen_probe(
        self,
        kind: str,
        id: bytes,
        names: list[list[str]],
        key: str,
        curve: str = "",
        bits: int = 0,
    ) -> dict[str, str]:
        """Try to make a key extractable that is like the one of ``id``: generated here and now, of
        the kind that ``key``, ``curve`` and ``bits`` say, with the first of ``names`` (attributes,
        with the values that they have in that key) that the token takes, for this session only
        (CKA_TOKEN false).

        ``made``: "" when there was such a key, else the CKR why not, or "unlike" when the token
        made another one; ``set``: the refusal to set CKA_EXTRACTABLE, "" if it worked.
        """
        kept, made = self._one(kind, id), ""
        for chosen in names:
            template = {name: _asserted(kept, name) for name in chosen}
            wanted = {n: v for n, v in template.items() if isinstance(v, bool)}
            try:
                halves = self._twin(wanted, key, curve, bits)
            except pkcs11.PKCS11Error as problem:
                made = ckr_name(problem)
                if made in TEMPLATE_REFUSED:
                    continue
                return {"made": made, "set": ""}
            try:
                if any(_asserted(halves[0], name) != value for name, value in wanted.items()):
                    made = "unlike"
                    continue
                return {"made": "", "set": _loosened(halves[0])}
            finally:
                for half in halves:
                    with suppress(pkcs11.PKCS11Error):  # the session's end takes it
                        half.destroy()
        return {"made": made, "set": ""}

    def _twin(self, template: Mapping[str, bool], key: str, curve: str, bits: int) -> list[Any]:
        """The half that counts comes first."""
        session, named = self._session(), named_template(template)
        if key in ("aes", "hmac"):
            return [make_secret(session, named, kind=key, bits=bits, store=False)]
        if key == "rsa":
            with suppress(pkcs11.KeySizeRange, pkcs11.AttributeValueInvalid):  # no short ones here
                return _turned(make_pair(session, named, kind=key, bits=_SHORT_RSA, store=False))
        pair = make_pair(session, named, kind=key, curve=curve, bits=bits, store=False)
        return _turned(pair)

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


def _turned(pair: tuple[Any, Any]) -> list[Any]:
    public, private = pair
    return [private, public]


def _asserted(item: Any, name: str) -> object:
    """The attribute's value; None where the token does not tell."""
    try:
        return item[Attribute[name]]
    except pkcs11.PKCS11Error:
        return None


def _loosened(item: Any) -> str:
    try:
        item[Attribute.EXTRACTABLE] = True
    except pkcs11.PKCS11Error as problem:
        return ckr_name(problem)
    return ""


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
