"""What a CA was set up to be: ``ca.json``, written by its ceremony and read strictly ever after."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness.errors import BadInput
from harness.shown import HIDDEN, shown
from provisioning.authority_policy import DEVICE, ISSUING, OPTIONAL_DEVICE_KEYS, ROOT, KeyRule
from provisioning.authority_tokens import key_id
from provisioning.idevid import HARDWARE_TYPE
from provisioning.pkcs11_uri import is_uri
from provisioning.private_files import write_durably
from provisioning.token_public import KeyProfile

FORMAT = "trustbox-ca-1"
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,38})){1,30}")
_URL = re.compile(r"http://[!-~]{1,400}")
"""By http: checking an https server would need a CRL first (RFC 5280 8)."""


@dataclass(frozen=True, slots=True)
class RoleSettings:
    """One CA: where its key is (``softhsm:NAME`` or a ``pkcs11:`` URI), its kind, its life."""

    token: str
    key: KeyProfile
    days: int | None

    def to_dict(self) -> dict[str, object]:
        return {"token": self.token, "key": self.key.value, "days": self.days}


@dataclass(frozen=True, slots=True)
class CaSettings:
    """Never secret: PINs are in the files that URIs name, or in somebody's head."""

    root: RoleSettings = RoleSettings("softhsm:root", ROOT.default, ROOT.days)
    issuing: RoleSettings = RoleSettings("softhsm:line", ISSUING.default, ISSUING.days)
    device_keys: tuple[KeyProfile, ...] = DEVICE.allowed
    hardware_type: str = HARDWARE_TYPE
    crl_url: str | None = None
    """Where boxes' verifiers fetch issuing.crl."""
    root_crl_url: str | None = None
    """Where they fetch root.crl, which says whether the issuing CA was revoked."""
    crl_days: int = 30
    root_crl_days: int = 365

    @property
    def made_by_itself(self) -> bool:
        """Both tokens are this station's own SoftHSM2: nobody has to be asked for anything."""
        return all(role.token.startswith("softhsm:") for role in (self.root, self.issuing))

    def to_dict(self) -> dict[str, object]:
        return {
            "format": FORMAT,
            "root": self.root.to_dict(),
            "issuing": self.issuing.to_dict(),
            "device_keys": [kind.value for kind in self.device_keys],
            "hardware_type": self.hardware_type,
            "crl_url": self.crl_url,
            "root_crl_url": self.root_crl_url,
            "crl_days": self.crl_days,
            "root_crl_days": self.root_crl_days,
        }

    @classmethod
    def parse(cls, text: bytes, *, where: str) -> Self:
        """Raises BadInput, naming the key, for anything that ``to_dict`` would not have written."""
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as problem:
            raise BadInput(
                where=where, key="the file", value=str(problem), expected="JSON"
            ) from problem
        read = _Reader(where, found)
        if found.get("format") != FORMAT:
            raise read.wrong("format", FORMAT)
        made = cls(
            root=read.role("root", ROOT),
            issuing=read.role("issuing", ISSUING),
            device_keys=read.device_keys(),
            hardware_type=read.text("hardware_type", _OID, "an OID in dotted form"),
            crl_url=read.url("crl_url"),
            root_crl_url=read.url("root_crl_url"),
            crl_days=read.days("crl_days"),
            root_crl_days=read.days("root_crl_days"),
        )
        found.setdefault("root_crl_url", None)  # files of earlier versions have none
        if set(found) != set(made.to_dict()):
            extra = sorted(set(found) - set(made.to_dict()))[0]
            expected = "no such key; known are " + ", ".join(made.to_dict())
            raise BadInput(where=where, key=extra, value=HIDDEN, expected=expected)
        return made


def load_settings(state: Path) -> CaSettings | None:
    """Those of the CA in ``state``; None when there are none."""
    place = state / "ca.json"
    if not place.exists():
        return None
    with place.open("rb") as file:
        return CaSettings.parse(file.read(65536), where=str(place))


def save_settings(state: Path, settings: CaSettings) -> None:
    text = json.dumps(settings.to_dict(), indent=2) + "\n"
    write_durably(state / "ca.json", text.encode())


class _Reader:
    def __init__(self, where: str, found: object, under: str = "") -> None:
        self._where, self._under = where, under
        if not isinstance(found, dict):
            raise BadInput(where=where, key=under or "the file", value=HIDDEN, expected="an object")
        self._found = found

    def wrong(
        self, key: str, expected: str, *, like: Sequence[str] = (), number: bool = False
    ) -> BadInput:
        dotted = f"{self._under}.{key}" if self._under else key
        value = shown(key, self._found.get(key), like=like, number=number)
        return BadInput(where=self._where, key=dotted, value=value, expected=expected)

    def text(self, key: str, form: re.Pattern[str], expected: str) -> str:
        value = self._found.get(key)
        if not isinstance(value, str) or not form.fullmatch(value):
            raise self.wrong(key, expected)
        return value

    def url(self, key: str) -> str | None:
        if self._found.get(key) is None:
            return None
        return self.text(key, _URL, "a URL that begins with http://")

    def days(self, key: str) -> int:
        value = self._found.get(key)
        if type(value) is not int or not 1 <= value <= 36500:
            raise self.wrong(key, "a whole number from 1 to 36500", number=True)
        return value

    def role(self, key: str, rule: KeyRule) -> RoleSettings:
        inner = _Reader(self._where, self._found.get(key), key)
        return RoleSettings(
            token=inner.token(),
            key=inner.kind("key", rule.allowed),
            days=None if inner._found.get("days") is None else inner.days("days"),
        )

    def token(self) -> str:
        """Never quoted when it is wrong: people put PINs into URIs."""
        value = self._found.get("token")
        if isinstance(value, str) and is_uri(value) and len(value) < 1000:
            key_id(value, b"", where=f"{self._where}, {self._under}.token")
            return value
        if isinstance(value, str) and re.fullmatch(r"softhsm:[a-z]{1,16}", value):
            return value
        raise BadInput(
            where=self._where,
            key=f"{self._under}.token",
            value=HIDDEN,
            expected="softhsm:NAME or a pkcs11: URI",
        )

    def kind(self, key: str, allowed: tuple[KeyProfile, ...]) -> KeyProfile:
        for profile in allowed:
            if self._found.get(key) == profile.value:
                return profile
        names = [profile.value for profile in allowed]
        raise self.wrong(key, "one of " + ", ".join(names), like=names)

    def device_keys(self) -> tuple[KeyProfile, ...]:
        value = self._found.get("device_keys")
        known = {p.value: p for p in (*DEVICE.allowed, *OPTIONAL_DEVICE_KEYS)}
        chosen = [known.get(str(v)) for v in value] if isinstance(value, list) else []
        if not chosen or None in chosen:
            raise self.wrong("device_keys", "a list of some of " + ", ".join(known))
        return tuple(profile for profile in chosen if profile is not None)
