"""One PKCS#11 API for every token: the box's, driven from here, and the factory's HSM.

A KeyPair is found by CKA_ID, never by label (labels may repeat). Whoever wants to know whose key it
is asks ``keys`` (the box) or ``authority`` (the factory).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cryptography.hazmat.primitives.asymmetric import utils

from harness.deadline import Deadline
from harness.errors import BadFrame, DeviceRefused
from provisioning.pin_budget import PinBudget
from provisioning.token_pins import TokenPins
from provisioning.token_public import KeyPair as KeyPair
from provisioning.token_public import KeyProfile, shown_pair
from provisioning.token_public import verifies as verifies
from provisioning.token_secrets import Caller, SecretsAndData
from provisioning.token_state import TokenState
from provisioning.token_template import TEMPLATES, KeyTemplate
from provisioning.token_tried import Probes


class Token(TokenPins, SecretsAndData, Probes):
    """A PKCS#11 module behind a worker. Every verb raises TokenRefused, DeadlineExpired, LinkLost.

    ``login`` lasts until ``logout``, ``close`` or a link error.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self.budget: PinBudget | None = None
        """Counts wrong PINs where it is set, and stops in time."""
        self.logged_in: TokenState | None = None
        """The token that the last ``login`` was to, as it was then."""

    def close(self) -> None:
        self._caller.close()

    def find(self, id: bytes, *, by: Deadline) -> KeyPair | None:
        """The pair of this CKA_ID; None when there is none, or a public half alone (see ensure).

        Raises DeviceRefused for anything else but one whole pair.
        """
        public, private = self._halves(id, by)
        if not private and len(public) <= 1:
            return None
        if len(public) != 1 or len(private) != 1:
            raise DeviceRefused(
                f"the token holds {len(private)} private and {len(public)} public keys of id"
                f" {id.hex()}, expected one of each"
            )
        return shown_pair(id, public[0])

    def id_of(self, label: str, *, by: Deadline) -> bytes | None:
        """The CKA_ID of the private key of this label; None when there is none. Raises
        DeviceRefused when several bear it.
        """
        listed = self._listed(None, by)
        found = {e["id"] for e in listed if e["kind"] == "private" and e["label"] == label}
        if len(found) > 1:
            raise DeviceRefused(f"the token holds {len(found)} private keys of label {label}")
        return next((id for id in found if isinstance(id, bytes)), None)

    def ensure(
        self,
        id: bytes,
        label: str,
        profile: KeyProfile = KeyProfile.EC_P256,
        *,
        templates: Sequence[KeyTemplate] = TEMPLATES,
        by: Deadline,
    ) -> tuple[KeyPair, bool]:
        """The pair of this CKA_ID, generated if there is none; and whether it is new.

        A new one is made with the first of ``templates`` that the token takes, and says which.

        A public key without its private one is what a power cut in C_GenerateKeyPair leaves: it
        is removed first. Anything else that is not one whole pair of ``profile``, and a secret
        key of this CKA_ID, raises DeviceRefused.
        """
        found = self.find(id, by=by)
        if found is not None:
            if found.profile is not profile:
                raise DeviceRefused(
                    f"key {label} in the token is {found.profile.value}, expected {profile.value}"
                )
            return found, False
        self._without(id, label, ("secret",), by)
        self.destroy("public", id, by=by)
        used = self._generated(
            lambda template: self._caller.call(
                "generate", doing=f"generating key {label}", by=by,
                id=id, label=label, template=dict(template.attributes), **profile.template,
            ),
            templates,
        )  # fmt: skip
        made = self.find(id, by=by)
        if made is None:
            raise DeviceRefused(f"the token generated key {label} but does not show it")
        return replace(made, template=used), True

    def sign(self, id: bytes, digest: bytes, *, by: Deadline) -> bytes:
        """ECDSA over a digest; DER (ECDSA-Sig-Value, RFC 3279 2.2.3)."""
        raw = self.sign_raw(id, digest, "ecdsa", by=by)
        half = len(raw) // 2
        if half not in (32, 48) or len(raw) % 2:
            raise BadFrame("the token's signature is not r and s of P-256 or P-384")
        r, s = int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
        return utils.encode_dss_signature(r, s)

    def sign_raw(self, id: bytes, data: bytes, mechanism: str, *, by: Deadline) -> bytes:
        """What the mechanism gives: ecdsa (of a digest), rsa-pkcs1 (of a DigestInfo),
        rsa-pss-sha256 (of a digest; salt of 32 bytes) or eddsa."""
        found = self._caller.call(
            "sign", doing="signing in the token", by=by, id=id, digest=data, mechanism=mechanism
        )
        if not isinstance(found, bytes):
            raise BadFrame("the token's signature cannot be read")
        return found

    def attributes(
        self, id: bytes, names: tuple[str, ...], *, kind: str = "private", by: Deadline
    ) -> Mapping[str, object]:  # fmt: skip
        """The key's attributes (``kind``: private or secret); a withheld one is its CKR's name."""
        found = self._caller.call(
            "attributes", doing="reading key attributes", by=by,
            kind=kind, id=id, names=list(names),
        )  # fmt: skip
        if not isinstance(found, dict) or set(found) != set(names):
            raise BadFrame("the token's key attributes cannot be read")
        return {n: v["ckr"] if isinstance(v, dict) and "ckr" in v else v for n, v in found.items()}

    def certificates(self, id: bytes, *, by: Deadline) -> tuple[bytes, ...]:
        """DER of every certificate object of this CKA_ID."""
        found = (
            entry.get("value") for entry in self._listed(id, by) if entry["kind"] == "certificate"
        )
        return tuple(value for value in found if isinstance(value, bytes))

    def store_certificate(
        self, id: bytes, label: str, *, subject: bytes, der: bytes, by: Deadline
    ) -> None:  # fmt: skip
        """Make ``der`` the one certificate object of this CKA_ID.

        It is stored before others are removed: a cut leaves both, a refusal leaves what was there.
        """
        self._caller.call(
            "store_certificate", doing=f"storing certificate {label}", by=by,
            id=id, label=label, subject=subject, value=der,
        )  # fmt: skip

    def destroy(self, kind: str, id: bytes, *, by: Deadline) -> int:
        """Remove the objects of ``kind`` (private, public, certificate); how many there were."""
        found = self._caller.call("destroy", doing=f"erasing {kind}", by=by, kind=kind, id=id)
        return found if isinstance(found, int) else 0

    def _halves(self, id: bytes, by: Deadline) -> tuple[list[dict[str, object]], ...]:
        found = self._listed(id, by)
        return tuple([e for e in found if e["kind"] == kind] for kind in ("public", "private"))
