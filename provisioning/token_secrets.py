"""What a token holds besides pairs: secret keys and data objects.

A part of ``Token``, in a file of its own for its length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness.deadline import Deadline
from harness.errors import BadFrame, DeviceRefused, Misuse, TokenRefused
from provisioning.token_template import TEMPLATE_REFUSED, TEMPLATES, KeyTemplate

LARGEST_DATA = 4096
"""Octets of one data object: OP-TEE's PKCS#11 TA has 32 KiB for everything."""


class SecretProfile(Enum):
    """The kinds of secret keys that are made here."""

    AES_256 = "aes-256"
    HMAC_256 = "hmac-256"

    @property
    def kind(self) -> str:
        return self.value.partition("-")[0]

    @property
    def bits(self) -> int:
        return int(self.value.partition("-")[2])

    @property
    def template(self) -> Mapping[str, object]:
        """What the token worker is told to make one."""
        return {"kind": self.kind, "bits": self.bits}


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A secret key in a token: it has no half that could be shown."""

    id: bytes
    label: str
    profile: SecretProfile
    template: str | None = field(default=None, compare=False)
    """The template that it was made with just now; None for one that was found."""


class Caller(Protocol):
    """Asks the token worker; ``TokenProcess`` is one."""

    def call(self, do: str, /, *, doing: str, by: Deadline, **arguments: object) -> object: ...
    def close(self) -> None: ...


class SecretsAndData:
    """Needs a login for everything."""

    _caller: Caller

    def ensure_secret(
        self,
        id: bytes,
        label: str,
        profile: SecretProfile = SecretProfile.AES_256,
        *,
        templates: Sequence[KeyTemplate] = TEMPLATES,
        by: Deadline,
    ) -> tuple[SecretKey, bool]:
        """The secret key of this CKA_ID, generated if there is none; and whether it is new.

        Raises DeviceRefused when there are several, or a pair of this CKA_ID.
        """
        found = self.find_secret(id, by=by)
        if found is not None:
            if found.profile is not profile:
                raise DeviceRefused(
                    f"key {label} in the token is {found.profile.value}, expected {profile.value}"
                )
            return found, False
        self._without(id, label, ("private", "public"), by)
        used = self._generated(
            lambda template: self._caller.call(
                "generate_secret", doing=f"generating key {label}", by=by,
                id=id, label=label, kind=profile.kind, bits=profile.bits,
                template=dict(template.attributes),
            ),
            templates,
        )  # fmt: skip
        return SecretKey(id, label, profile, used), True

    def find_secret(self, id: bytes, *, by: Deadline) -> SecretKey | None:
        """Raises DeviceRefused when there are several, or one of a kind that is not used here."""
        found = [entry for entry in self._listed(id, by) if entry["kind"] == "secret"]
        if not found:
            return None
        if len(found) > 1:
            raise DeviceRefused(
                f"the token holds {len(found)} secret keys of id {id.hex()}, expected one"
            )
        told = (found[0].get("key"), found[0].get("bits"))
        profile = next((p for p in SecretProfile if (p.kind, p.bits) == told), None)
        if profile is None:
            raise DeviceRefused(f"the secret key of id {id.hex()} is of no kind that is used here")
        return SecretKey(id, str(found[0].get("label", "")), profile)

    def mac(self, id: bytes, data: bytes, *, by: Deadline) -> bytes:
        """HMAC-SHA-256 of data with a secret key in the token, 32 octets."""
        found = self._caller.call("mac", doing="using a secret", by=by, id=id, data=data)
        if not isinstance(found, bytes) or len(found) != 32:
            raise BadFrame("the token's MAC cannot be read")
        return found

    def encrypt(self, id: bytes, block: bytes, *, by: Deadline) -> bytes:
        """One block of 16 octets under an AES key in the token (CKM_AES_ECB)."""
        found = self._caller.call("encrypt", doing="using a key", by=by, id=id, block=block)
        if not isinstance(found, bytes) or len(found) != 16:
            raise BadFrame("what the token encrypted cannot be read")
        return found

    def round_trip(self, id: bytes, block: bytes, *, by: Deadline) -> bool:
        """Whether the secret key encrypts 16 octets and gives them back."""
        return (
            self._caller.call("round_trip", doing="using a key", by=by, id=id, block=block) is True
        )

    def import_ec(
        self,
        id: bytes,
        label: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        template: KeyTemplate,
        by: Deadline,
    ) -> None:
        """Put a pair that was made here into the token, in clear over the way to it.

        Its evidence will say so (LOCAL false). Raises TokenRefused.
        """
        size = (key.curve.key_size + 7) // 8
        point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        self._caller.call(
            "import_ec", doing=f"importing key {label}", by=by,
            id=id, label=label, curve=key.curve.name,
            value=key.private_numbers().private_value.to_bytes(size, "big"),
            point=bytes([4, len(point)]) + point,  # DER: OCTET STRING (PKCS#11 v2.40, 2.3.3)
            template=dict(template.attributes),
        )  # fmt: skip

    def mechanisms(self, slot: int, *, by: Deadline) -> frozenset[int]:
        """CKM numbers, as far as the way to the token carries them (p11-kit 0.24: few)."""
        found = self._caller.call("mechanisms", doing="asking for mechanisms", by=by, slot=slot)
        if not isinstance(found, list) or not all(isinstance(one, int) for one in found):
            raise BadFrame("the token's list of mechanisms cannot be read")
        return frozenset(found)

    def store_data(self, label: str, value: bytes, *, by: Deadline) -> None:
        """Keep up to 4096 octets in a private data object; replaces that label's (CKO_DATA)."""
        if not value or len(value) > LARGEST_DATA:
            raise Misuse(f"a data object holds 1 to {LARGEST_DATA} octets, not {len(value)}")
        self._caller.call("store_data", doing=f"storing {label}", by=by, label=label, value=value)

    def data(self, label: str, *, by: Deadline) -> bytes | None:
        """The octets of our data object of this label; None when there is none."""
        found = self._caller.call("data", doing=f"reading {label}", by=by, label=label)
        if found is not None and not isinstance(found, bytes):
            raise BadFrame("the token's data object cannot be read")
        return found

    def data_listed(self, *, by: Deadline) -> tuple[tuple[str, int], ...]:
        """Label and octets of each of our data objects, sorted; one label twice where a power cut
        came between a new one and the end of the old (``store_data`` mends it).
        """
        answer = self._caller.call("data_listed", doing="looking for data in the token", by=by)
        found = []
        for entry in answer if isinstance(answer, list) else [None]:
            match entry:
                case {"label": str(label), "octets": int(octets)} if len(label) <= LARGEST_DATA:
                    found.append((label, octets))
                case _:
                    raise BadFrame("the token's list of data objects cannot be read")
        return tuple(sorted(found))

    def destroy_data(self, label: str, *, by: Deadline) -> int:
        """Remove our data object of this label; how many there were."""
        found = self._caller.call("destroy_data", doing=f"erasing {label}", by=by, label=label)
        return found if isinstance(found, int) else 0

    def objects(self, *, by: Deadline) -> tuple[tuple[str, str, bytes], ...]:
        """Kind, label and CKA_ID of everything that shows; other kinds than ours are "other"."""
        found = []
        for entry in self._listed(None, by):
            match entry:
                case {"kind": str(kind), "label": str(label), "id": bytes(id)}:
                    found.append((kind, label, id))
                case _:
                    raise BadFrame("the token's list of objects cannot be read")
        return tuple(found)

    def _listed(self, id: bytes | None, by: Deadline) -> list[dict[str, object]]:
        found = self._caller.call("objects", doing="looking for keys in the token", by=by, id=id)
        if not isinstance(found, list) or not all(
            isinstance(entry, dict) and isinstance(entry.get("kind"), str) for entry in found
        ):
            raise BadFrame("the token's list of objects cannot be read")
        return found

    def _without(self, id: bytes, label: str, kinds: Sequence[str], by: Deadline) -> None:
        """A CKA_ID is one key: raises DeviceRefused where a key of another kind has it."""
        found = sorted({str(entry["kind"]) for entry in self._listed(id, by)} & set(kinds))
        if found:
            raise DeviceRefused(
                f"key {label} is not made: the token has a {found[0]} key of its id {id.hex()}",
                hint="Somebody must look: trustbox keys list shows it.",
            )

    @staticmethod
    def _generated(
        make: Callable[[KeyTemplate], object], templates: Sequence[KeyTemplate]
    ) -> str:  # fmt: skip
        """Make a key with the first template that the token takes; that one's name."""
        if not templates:
            raise Misuse("a key needs a template")
        for template in templates:
            try:
                make(template)
            except TokenRefused as refusal:
                if refusal.ckr not in TEMPLATE_REFUSED or template is templates[-1]:
                    raise
            else:
                return template.name
        raise Misuse("a key needs a template")
