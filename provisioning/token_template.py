"""Templates for private and secret keys: what a token is asked to make of them. Pure.

A token may refuse attributes that another one needs: NXP's library for Layerscape takes neither
CKA_SENSITIVE nor CKA_EXTRACTABLE in a template (parsec #462). So the strictest one that a token
accepts is used; which one that was is kept with the key, and the key's evidence judges the result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """``attributes`` of the private or secret key, by their names without CKA_."""

    name: str
    attributes: Mapping[str, bool]


STRICT = KeyTemplate(
    "strict",
    {
        "PRIVATE": True,
        "SENSITIVE": True,
        "EXTRACTABLE": False,
        "MODIFIABLE": False,
        "COPYABLE": False,
    },
)
SENSITIVE = KeyTemplate("sensitive", {"PRIVATE": True, "SENSITIVE": True, "EXTRACTABLE": False})
TOKENS_OWN = KeyTemplate("tokens-own", {"PRIVATE": True})
"""Says nothing: the token decides, and its evidence shows what it decided."""

TEMPLATES = (STRICT, SENSITIVE, TOKENS_OWN)
"""In the order in which a token is asked."""

TEMPLATE_REFUSED = frozenset(
    {
        "CKR_ATTRIBUTE_READ_ONLY",
        "CKR_ATTRIBUTE_TYPE_INVALID",
        "CKR_ATTRIBUTE_VALUE_INVALID",
        "CKR_TEMPLATE_INCONSISTENT",
    }
)
"""What a token answers to attributes that it does not take; nothing was made then."""
