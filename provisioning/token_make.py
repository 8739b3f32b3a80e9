"""How the token worker has a key made, for good or for this session only.

Runs inside the worker process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asn1crypto.core import PrintableString
from pkcs11 import Attribute, KeyType, MechanismFlag
from pkcs11.constants import DEFAULT
from pkcs11.util.ec import encode_named_curve_parameters

from provisioning.token_protocol import Malformed

Template = Mapping[Attribute, object]
_SECRETS = {
    "aes": (KeyType.AES, MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT),
    "hmac": (KeyType.GENERIC_SECRET, MechanismFlag.SIGN | MechanismFlag.VERIFY),
}


def named_template(template: Mapping[str, bool]) -> dict[Attribute, object]:
    """By attribute. SENSITIVE is left out unless it is named: python-pkcs11 would add it."""
    try:
        named = {Attribute[name]: wanted for name, wanted in template.items()}
    except KeyError:
        raise Malformed("no such attribute in a template") from None
    return {Attribute.SENSITIVE: DEFAULT, Attribute.PRIVATE: DEFAULT, **named}


def make_pair(
    session: Any,
    template: Template,
    *,
    kind: str,
    curve: str = "",
    bits: int = 0,
    **named: object,
) -> tuple[Any, Any]:
    """Public and private half; ``template`` is of the private one, ``named`` what python-pkcs11
    names apart: id, label, and store, without which the pair is the session's only.
    """
    arguments = list[object]()
    if kind == "rsa":
        maker, arguments = session, [KeyType.RSA, bits]
    elif kind == "ed25519":
        parameters = {Attribute.EC_PARAMS: PrintableString(curve).dump()}  # PKCS#11 v3.0, 2.3.5
        maker = session.create_domain_parameters(KeyType.EC_EDWARDS, parameters, local=True)
    else:
        parameters = {Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
        maker = session.create_domain_parameters(KeyType.EC, parameters, local=True)
    public, private = maker.generate_keypair(
        *arguments,
        capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
        public_template={Attribute.MODIFIABLE: False},
        private_template=template,
        **named,
    )
    return public, private


def make_secret(session: Any, template: Template, *, kind: str, bits: int, **named: object) -> Any:
    """A secret key for AES or for HMAC; as ``make_pair``."""
    key_type, usage = _SECRETS[kind]
    return session.generate_key(key_type, bits, capabilities=usage, template=template, **named)
