"""What a key is worth, judged from its evidence: one of four verdicts, each with its reasons. Pure.

Attributes are self-asserted: any PKCS#11 module can claim them (device-facts 7(a)). A verdict is
worth as much as the module and the TEE that it was got from; the evidence names both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from provisioning.token_public import KeyPair
from provisioning.token_secrets import SecretKey

Known = Literal["asserted", "observed"]
"""Said by the token about itself, or seen by us."""


class KeyVerdict(Enum):
    """From good to bad; the worst of its reasons is a key's verdict."""

    MADE_INSIDE = "made-inside"
    """Made in this token, and everything agrees that it cannot leave it."""
    IMPORTED = "imported"
    """It cannot leave the token now, but came from outside: somebody else had it, or has it."""
    UNPROVEN = "unproven"
    """The token does not use it as it must, or does not tell what it must: do not rely on it."""
    EXTRACTABLE = "extractable"
    """It can leave the token, could once, or shows its value."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that is not as it must be: a sentence, how it is known, and what it makes."""

    text: str
    known: Known
    makes: KeyVerdict


@dataclass(frozen=True, slots=True)
class Probe:
    """Something that must be refused, was tried, and what came back (a CKR, or what was given).

    ``refused``: for the right reason. ``given``: the token did it. Neither: the answer settles
    nothing. ``ran`` false: there was no way to try it; that is told, and proves nothing.
    """

    tried: str
    answer: str
    refused: bool
    given: bool = False
    ran: bool = True

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "tried": self.tried,
            "answer": self.answer,
            "refused": self.refused,
            "given": self.given,
            "ran": self.ran,
        }


_GEN_MECHANISMS: Mapping[str, int] = {
    "ec": 0x1040,
    "rsa": 0x0,
    "ed25519": 0x1055,
    "aes": 0x1080,
    "hmac": 0x350,
}
"""CKM_EC_KEY_PAIR_GEN, CKM_RSA_PKCS_KEY_PAIR_GEN, CKM_EC_EDWARDS_KEY_PAIR_GEN, CKM_AES_KEY_GEN."""

_IMPORTED, _EXTRACTABLE = KeyVerdict.IMPORTED, KeyVerdict.EXTRACTABLE
_EXPECTED: Mapping[str, tuple[bool, KeyVerdict]] = {
    "LOCAL": (True, _IMPORTED),
    "SENSITIVE": (True, _EXTRACTABLE),
    "ALWAYS_SENSITIVE": (True, _EXTRACTABLE),
    "EXTRACTABLE": (False, _EXTRACTABLE),
    "NEVER_EXTRACTABLE": (True, _EXTRACTABLE),
    "PRIVATE": (True, KeyVerdict.UNPROVEN),
    "TOKEN": (True, KeyVerdict.UNPROVEN),
}
ASKED = (*_EXPECTED, "KEY_GEN_MECHANISM", "MODIFIABLE")
"""The attributes that evidence asks for. MODIFIABLE is told and not judged."""


def expected(key: KeyPair | SecretKey) -> Mapping[str, object]:
    """What a key of this kind asserts that was made in the token and is never to leave it."""
    kind = key.profile.value.partition("-")[0]
    told: dict[str, object] = {name: wanted for name, (wanted, _) in _EXPECTED.items()}
    return {**told, "KEY_GEN_MECHANISM": _GEN_MECHANISMS[kind]}


def judged(
    key: KeyPair | SecretKey,
    asserted: Mapping[str, object],
    probes: Sequence[Probe],
    *,
    answered: bool,
    signs: bool = True,
) -> tuple[Reason, ...]:
    """Everything that is not as it must be; nothing for a key that was made inside.

    ``signs`` false: the token lets the key sign nothing, so there was no answer to judge.
    """
    found = []
    for name, wanted in expected(key).items():
        value = asserted.get(name)
        if value == wanted:
            continue
        told = f"the token asserts {name} = {value}, expected {wanted}"
        found.append(Reason(told, "asserted", _made_by(name, value, asserted)))
    for probe in probes:
        if probe.given:
            text = f"{probe.tried} was answered {probe.answer}"
            found.append(Reason(text, "observed", _EXTRACTABLE))
        elif probe.ran and not probe.refused:
            text = f"{probe.tried} was answered {probe.answer}, which settles nothing"
            found.append(Reason(text, "observed", KeyVerdict.UNPROVEN))
    if not answered:
        text = "the signature over a fresh challenge does not verify"
        if not signs:
            text = "it may not sign, so that it answered no fresh challenge"
        if isinstance(key, SecretKey):
            text = "what the key encrypts it does not decrypt"
        found.append(Reason(text, "observed", KeyVerdict.UNPROVEN))
    return tuple(found)


def verdict_of(reasons: Sequence[Reason]) -> KeyVerdict:
    """The worst that a reason makes."""
    order = list(KeyVerdict)
    return max((r.makes for r in reasons), key=order.index, default=KeyVerdict.MADE_INSIDE)


def _made_by(name: str, value: object, asserted: Mapping[str, object]) -> KeyVerdict:
    """An imported key is never ALWAYS_SENSITIVE and NEVER_EXTRACTABLE: that says no more than
    LOCAL does (PKCS#11 v2.40, 4.9).
    """
    if not isinstance(value, bool) and name != "KEY_GEN_MECHANISM":
        return KeyVerdict.UNPROVEN
    if name == "KEY_GEN_MECHANISM":
        return _IMPORTED
    if name in ("ALWAYS_SENSITIVE", "NEVER_EXTRACTABLE") and asserted.get("LOCAL") is False:
        return _IMPORTED
    return _EXPECTED[name][1]
