"""Which boxes there are to emulate, and what sets them apart from each other."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import BadInput
from harness.target import World


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of box. Everything that is not here is alike in all of them."""

    name: str
    autoboot_seconds: int
    """U-Boot's countdown. With 0 a key that came before it still stops it."""
    worlds: tuple[World, ...]
    """Which worlds log on a UART of their own."""


CURRENT = Profile(
    name="current",
    autoboot_seconds=0,
    worlds=(World.NORMAL, World.SECURE),
)
PROFILES = {profile.name: profile for profile in (CURRENT,)}


def profile_named(name: str) -> Profile:
    """Raises BadInput, naming those there are."""
    try:
        return PROFILES[name]
    except KeyError:
        known = " or ".join(sorted(PROFILES))
        raise BadInput(where="--profile", key="profile", value=name, expected=known) from None
