"""What is in a token, by CKA_ID: keys that are whole, and what is not one whole key."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.errors import DeviceRefused
from provisioning.token import KeyPair, Token
from provisioning.token_secrets import SecretKey


@dataclass(frozen=True, slots=True)
class Held:
    """Everything of one CKA_ID. ``key`` is None and ``trouble`` a sentence where that is not one
    whole key that is understood here.
    """

    id: bytes
    label: str
    objects: tuple[str, ...]
    """Kinds of the objects, sorted: certificate, private, public, secret."""
    key: KeyPair | SecretKey | None
    trouble: str = ""

    @property
    def kind(self) -> str:
        return self.key.profile.value if self.key else "-"


def inventory(token: Token, *, by: Deadline) -> tuple[Held, ...]:
    """By label and CKA_ID; needs a login. Certificates without a key are in it, data are not."""
    found = token.objects(by=by)
    ids = {(label, id) for kind, label, id in found if kind in _KINDS}
    by_id = {id: label for label, id in sorted(ids)}
    return tuple(
        _held(
            token, id, label, tuple(sorted(k for k, _, i in found if i == id and k in _KINDS)), by
        )
        for id, label in sorted(by_id.items(), key=lambda entry: (entry[1], entry[0]))
    )


_KINDS = ("certificate", "private", "public", "secret")


def _held(token: Token, id: bytes, label: str, objects: tuple[str, ...], by: Deadline) -> Held:
    count = Counter(objects)
    try:
        if count["secret"] and not count["private"] and not count["public"]:
            return Held(id, label, objects, token.find_secret(id, by=by))
        pair = token.find(id, by=by)
    except DeviceRefused as refused:
        return Held(id, label, objects, None, refused.message)
    if pair is None:
        trouble = "a public key without its private one" if count["public"] else "no key"
        return Held(id, label, objects, None, trouble)
    if count["secret"]:
        return Held(id, label, objects, None, "a pair and a secret key of one CKA_ID")
    return Held(id, label, objects, pair)
