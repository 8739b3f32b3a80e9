"""The tables of a plan about keys and PINs: [secrets], [key] and [keys]. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInput
from harness.shown import HIDDEN, shown
from provisioning.key_names import PURPOSE
from provisioning.pkcs11_uri import is_uri
from provisioning.token_public import KeyProfile
from provisioning.token_secrets import SecretProfile

DEVICE_PROFILES = (
    KeyProfile.EC_P256,
    KeyProfile.EC_P384,
    KeyProfile.RSA_2048,
    KeyProfile.RSA_3072,
)
"""For the device key, which the factory's CA certifies (authority_policy.DEVICE)."""
PROFILES: Mapping[str, KeyProfile | SecretProfile] = {
    **{profile.value: profile for profile in (*DEVICE_PROFILES, KeyProfile.ED25519)},
    SecretProfile.AES_256.value: SecretProfile.AES_256,
}
"""For any other key of the box's."""


@dataclass(frozen=True, slots=True)
class PinsFrom:
    """Where a plan takes PINs from; all None: random ones, kept by the station."""

    file: Path | None = None
    command: tuple[str, ...] | None = None
    """Words of a program; ``{serial}`` and ``{tee_uuid}`` stand for the box's."""
    hsm: str | None = None
    """The HSM's token with the secret to derive from: ``softhsm:line`` or a ``pkcs11:`` URI."""


def read_secrets(found: object, where: str, beside: Path) -> PinsFrom:
    """The table [secrets]. Raises BadInput."""
    table = _table(found, "secrets", where, ("source", "command", "hsm"))
    source = table.get("source")
    # Digits alone are somebody's PIN, not a file's name.
    named = isinstance(source, str) and source == source.strip() and not source.isdecimal()
    if not isinstance(source, str) or not source or not named:
        expected = '"generate", "command", "derived" or the path of a file with PINs'
        raise BadInput(
            where=where, key="secrets.source", value=shown("source", source), expected=expected
        )
    command, hsm = table.get("command"), table.get("hsm")
    for name, value, of in (("command", command, "command"), ("hsm", hsm, "derived")):
        if value is not None and source != of:
            expected = f'no {name} beside another source than "{of}"'
            raise BadInput(where=where, key=f"secrets.{name}", value=HIDDEN, expected=expected)
    if source == "command":
        if not _words(command):
            expected = 'a list of words: ["/path/to/program", "{serial}"]'
            raise BadInput(
                where=where,
                key="secrets.command",
                value=shown("command", command),
                expected=expected,
            )
        return PinsFrom(command=tuple(command) if isinstance(command, list) else None)
    if source == "derived":
        if not isinstance(hsm, str) or not (hsm.startswith("softhsm:") or is_uri(hsm)):
            expected = "softhsm:line, or a pkcs11: URI of the HSM's token"
            raise BadInput(
                where=where, key="secrets.hsm", value=shown("hsm", hsm), expected=expected
            )
        return PinsFrom(hsm=hsm)
    if source == "generate":
        return PinsFrom()
    try:
        file = beside / Path(source).expanduser()
    except RuntimeError:
        expected = "the path of a file; nobody on this machine has the home that it names"
        raise BadInput(where=where, key="secrets.source", value=HIDDEN, expected=expected) from None
    if not {"/", "."} & set(source) and not file.exists():
        # A bare word: a PIN, or a typing error in "generate". Later it would be named as a file.
        expected = '"generate", "command", "derived" or the path of a file that is there'
        value = shown("source", source, like=("generate", "command", "derived"))
        raise BadInput(where=where, key="secrets.source", value=value, expected=expected)
    return PinsFrom(file=file)


def read_profile(found: object, where: str) -> KeyProfile:
    """The value of key.profile. Raises BadInput."""
    for profile in DEVICE_PROFILES:
        if found == profile.value:
            return profile
    expected = "one of " + ", ".join(profile.value for profile in DEVICE_PROFILES)
    raise BadInput(where=where, key="key.profile", value=shown("profile", found), expected=expected)


def read_keys(
    found: object, where: str, device: str
) -> Mapping[str, KeyProfile | SecretProfile]:  # fmt: skip
    """The table [keys], purpose by purpose; ``device`` is the device key's. Raises BadInput."""
    table = _table(found, "keys", where, None)
    for purpose, profile in table.items():
        if not PURPOSE.fullmatch(purpose) or purpose == device:
            expected = "a purpose: 1 to 32 of a-z, 0-9 and -, not the device key's"
            raise BadInput(where=where, key=f"keys.{purpose}", value=HIDDEN, expected=expected)
        if not isinstance(profile, str) or profile not in PROFILES:
            expected = "one of " + ", ".join(PROFILES)
            value = shown("", profile, like=tuple(PROFILES))
            raise BadInput(where=where, key=f"keys.{purpose}", value=value, expected=expected)
    return {purpose: PROFILES[str(profile)] for purpose, profile in table.items()}


def _table(
    found: object, name: str, where: str, keys: tuple[str, ...] | None
) -> dict[str, object]:  # fmt: skip
    if not isinstance(found, dict):
        raise BadInput(where=where, key=name, value=HIDDEN, expected=f"a table [{name}]")
    for key in found:
        if keys is not None and key not in keys:
            expected = "no such key; known are " + ", ".join(keys)
            raise BadInput(where=where, key=f"{name}.{key}", value=HIDDEN, expected=expected)
    return found


def _words(found: object) -> bool:
    return bool(
        isinstance(found, list)
        and found
        and all(isinstance(word, str) for word in found)
        and found[0]
    )
