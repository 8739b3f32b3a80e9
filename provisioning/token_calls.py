"""The verbs of the token worker: what is done to the module, one method each.

Runs inside the worker process. Objects are named by class and CKA_ID, never by handle or label:
labels may repeat and handles die with their session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pkcs11
from pkcs11 import MGF, Attribute, CertificateType, KeyType, Mechanism, ObjectClass

from provisioning.token_ckr import RefusedCall, ckr_name
from provisioning.token_init import init_token
from provisioning.token_make import make_pair, named_template
from provisioning.token_objects import ObjectCalls, able
from provisioning.token_probes import ProbeCalls
from provisioning.token_protocol import Malformed

_KINDS = {
    "private": ObjectClass.PRIVATE_KEY,
    "public": ObjectClass.PUBLIC_KEY,
    "certificate": ObjectClass.CERTIFICATE,
    "secret": ObjectClass.SECRET_KEY,
}
_KEYS = {KeyType.EC: "ec", KeyType.RSA: "rsa", KeyType.EC_EDWARDS: "ed25519"}
_SECRETS = {KeyType.AES: "aes", KeyType.GENERIC_SECRET: "hmac"}
_POINT = {"point": Attribute.EC_POINT, "curve": Attribute.EC_PARAMS}
_PUBLIC = {
    "ec": _POINT,
    "ed25519": _POINT,
    "rsa": {"modulus": Attribute.MODULUS, "exponent": Attribute.PUBLIC_EXPONENT},
}
_SIGNS = {
    "ecdsa": (Mechanism.ECDSA, None),
    "rsa-pkcs1": (Mechanism.RSA_PKCS, None),
    # Of a digest, with a salt as long as that: what OP-TEE's signed headers have.
    "rsa-pss-sha256": (Mechanism.RSA_PKCS_PSS, (Mechanism.SHA256, MGF.SHA256, 32)),
    "eddsa": (Mechanism.EDDSA, None),
}
_MOST_OBJECTS = 100


class TokenCalls:
    """One module, and at most one logged-in session with one of its tokens."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._library: Any = pkcs11.lib(module)
        self._session: Any = None

    def verbs(self) -> Mapping[str, Callable[..., object]]:
        return {
            "slots": self.slots,
            "init_token": self.init_token,
            "init_pin": self.init_pin,
            "login": self.login,
            "logout": self.logout,
            "objects": self.objects,
            "generate": self.generate,
            "attributes": self.attributes,
            "sign": self.sign,
            "store_certificate": self.store_certificate,
            "destroy": self.destroy,
            "mechanisms": self.mechanisms,
            "set_pin": self.set_pin,
            **ObjectCalls(self._open_session, self._objects, self._one).verbs(),
            **ProbeCalls(self._open_session, self._one).verbs(),
        }

    def slots(self) -> list[dict[str, object]]:
        return [self._described(slot) for slot in self._library.get_slots(token_present=True)]

    def init_token(self, slot: int, label: str, so_pin: bytes, wipe: bool = False) -> None:
        """Without ``wipe`` refuses an initialised token whatever the caller believes."""
        if not wipe and self._slot(slot).get_token().flags & pkcs11.TokenFlag.TOKEN_INITIALIZED:
            raise Malformed("the token is initialised already")
        self._session = None
        self._library.finalize()
        try:
            answer = init_token(self._module, slot, label, so_pin)
        finally:
            self._library.initialize()
        if answer:
            raise RefusedCall(answer)

    def init_pin(self, slot: int, so_pin: bytes, pin: bytes) -> None:
        """Refuses a never initialised token: C_Login(SO) makes OP-TEE's token panic (PR 7901)."""
        token = self._slot(slot).get_token()
        if not token.flags & pkcs11.TokenFlag.TOKEN_INITIALIZED:
            raise Malformed("the token is not initialised")
        self.logout()
        session = self._opened(token, so_pin=so_pin.decode())
        try:
            session.init_pin(pin.decode())
        finally:
            session.close()

    def set_pin(self, slot: int, who: str, old: bytes, new: bytes) -> None:
        """C_SetPIN by the user or the SO, logged in with the old PIN; ends the session."""
        token = self._slot(slot).get_token()
        if not token.flags & pkcs11.TokenFlag.TOKEN_INITIALIZED:
            raise Malformed("the token is not initialised")
        self.logout()
        session = self._opened(token, **{"so_pin" if who == "so" else "user_pin": old.decode()})
        try:
            session.set_pin(old.decode(), new.decode())
        finally:
            session.close()

    def login(self, slot: int, pin: bytes) -> None:
        token = self._slot(slot).get_token()
        self.logout()
        self._session = self._opened(token, user_pin=pin.decode())

    def logout(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            # One that somebody else ended (C_CloseAllSessions, a token pulled and put back) is out.
            with suppress(pkcs11.SessionHandleInvalid, pkcs11.SessionClosed):
                session.close()

    def mechanisms(self, slot: int) -> list[int]:
        """Those that reach us: p11-kit leaves out what it cannot carry."""
        return sorted(int(one) for one in self._slot(slot).get_mechanisms())

    def objects(self, id: bytes | None = None) -> list[dict[str, object]]:
        """All objects that the session sees, or those of one CKA_ID."""
        found = []
        for item in self._objects({} if id is None else {Attribute.ID: id}):
            kind = next(
                (name for name, value in _KINDS.items() if item[Attribute.CLASS] == value), ""
            )
            entry: dict[str, object] = {"kind": kind or "other", "id": b"", "label": ""}
            if kind:
                entry["id"] = bytes(item[Attribute.ID])
                entry["label"] = str(item[Attribute.LABEL])
            if kind == "secret":
                entry["bits"] = 8 * int(item[Attribute.VALUE_LEN])
                entry["key"] = _SECRETS.get(item[Attribute.KEY_TYPE], "other")
            if kind == "public":
                entry["key"] = _KEYS.get(item[Attribute.KEY_TYPE], "other")
                for name, attribute in _PUBLIC.get(str(entry["key"]), {}).items():
                    entry[name] = bytes(item[attribute])
            if kind == "certificate":
                entry["value"] = bytes(item[Attribute.VALUE])
            found.append(entry)
        return found

    def generate(
        self,
        id: bytes,
        label: str,
        template: dict[str, bool],
        kind: str = "ec",
        curve: str = "secp256r1",
        bits: int = 0,
    ) -> None:
        """A pair made in the token; ``template`` is of its private half."""
        named = {"id": id, "label": label, "store": True}
        private = named_template(template)
        make_pair(self._open_session(), private, kind=kind, curve=curve, bits=bits, **named)

    def attributes(self, kind: str, id: bytes, names: list[str]) -> dict[str, object]:
        """Each attribute's value, or ``{"ckr": why not}``."""
        item, found = self._one(kind, id), dict[str, object]()
        for name in names:
            try:
                found[name] = item[Attribute[name]]
            except pkcs11.PKCS11Error as problem:
                found[name] = {"ckr": ckr_name(problem)}
            except ValueError:
                # A number without a name, such as CK_UNAVAILABLE_INFORMATION: no mechanism.
                found[name] = None
        return found

    def sign(self, id: bytes, digest: bytes, mechanism: str = "ecdsa") -> bytes:
        """ECDSA gives r || s. Hashed by the caller, as p11-kit 0.24 passes no CKM_ECDSA_SHA256."""
        chosen = _SIGNS.get(mechanism)
        if chosen is None:
            raise Malformed("no such mechanism")
        way, parameter = chosen
        sign = able(self._one("private", id), "sign")
        return bytes(sign(digest, mechanism=way, mechanism_param=parameter))

    def store_certificate(self, id: bytes, label: str, subject: bytes, value: bytes) -> None:
        """Replace the certificates of that CKA_ID; the new one is there before the others go."""
        before = self._objects({Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.ID: id})
        kept = next((item for item in before if bytes(item[Attribute.VALUE]) == value), None)
        if kept is None:
            self._open_session().create_object(
                {
                    Attribute.CLASS: ObjectClass.CERTIFICATE,
                    Attribute.CERTIFICATE_TYPE: CertificateType.X_509,
                    Attribute.TOKEN: True,
                    Attribute.ID: id,
                    Attribute.LABEL: label,
                    Attribute.SUBJECT: subject,
                    Attribute.VALUE: value,
                }
            )
        for old in before:
            if old is not kept:
                old.destroy()

    def destroy(self, kind: str, id: bytes) -> int:
        found = self._objects({Attribute.CLASS: _KINDS[kind], Attribute.ID: id})
        for item in found:
            item.destroy()
        return len(found)

    def _slot(self, number: int) -> Any:
        for slot in self._library.get_slots(token_present=True):
            if slot.slot_id == number:
                return slot
        raise pkcs11.SlotIDInvalid

    def _opened(self, token: Any, **pin: str) -> Any:
        try:
            return token.open(rw=True, **pin)
        except pkcs11.PKCS11Error:
            # python-pkcs11 leaves the session of a failed login open; an open session would
            # make a later C_InitToken fail.
            self._library.reinitialize()
            raise

    def _open_session(self) -> Any:
        if self._session is None:
            raise pkcs11.UserNotLoggedIn
        return self._session

    def _objects(self, template: Mapping[Attribute, object]) -> list[Any]:
        found = []
        for item in self._open_session().get_objects(template):
            found.append(item)
            if len(found) > _MOST_OBJECTS:
                raise pkcs11.MultipleObjectsReturned
        return found

    def _one(self, kind: str, id: bytes) -> Any:
        found = self._objects({Attribute.CLASS: _KINDS[kind], Attribute.ID: id})
        if not found:
            raise pkcs11.NoSuchKey
        if len(found) > 1:
            raise pkcs11.MultipleObjectsReturned
        return found[0]

    @staticmethod
    def _described(slot: Any) -> dict[str, object]:
        token = slot.get_token()
        return {
            "slot": slot.slot_id,
            "description": slot.slot_description,
            "label": token.label,
            "serial": bytes(token.serial).decode("ascii", errors="replace"),
            "manufacturer": token.manufacturer_id,
            "model": token.model,
            "flags": int(token.flags),
        }
