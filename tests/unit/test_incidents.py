"""What was seen of a box once, and cannot be seen again, stays until a person looks into it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.capability import Capability
from harness.errors import IntegrityFailure, TeeRefused, TrustBoxError
from harness.tee_supplicant import NoSupplicant
from harness.tee_trouble import StorageDamaged
from provisioning import incidents
from provisioning.station import Station
from tests.unit.test_capability_states import box

DAMAGED = StorageDamaged(
    "the PKCS#11 TA ends at its start with 0xffff000f: its storage is damaged",
    TeeRefused("opening", 0xFFFF000F, 4),
)


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


def seen_by(station: Station, problem: TrustBoxError) -> Path | None:
    return incidents.keep(station, replace(box(), unknown={Capability.PKCS11: problem}))


def test_damage_that_was_seen_stops_until_it_is_moved_away(station: Station) -> None:
    kept = seen_by(station, DAMAGED)
    assert kept is not None
    assert kept.stat().st_mode & 0o777 == 0o600

    with pytest.raises(IntegrityFailure, match=r"TB-1: its token is blank, but .* 0xffff000f"):
        incidents.demand_none(station, "TB-1", but="its token is blank")
    incidents.demand_none(station, "TB-2", but="another box")

    incidents.directory(station, "TB-1").rename(station.state / "looked-into")
    incidents.demand_none(station, "TB-1", but="its token is blank")


def test_what_may_be_seen_again_at_any_time_is_not_kept(station: Station) -> None:
    assert seen_by(station, NoSupplicant("nobody answers")) is None
    assert incidents.seen(station, "TB-1") == ()
    assert not station.state.exists()


@pytest.mark.parametrize("octets", [b"", b"{", b"[]", b'{"at": 1}', b"\xff"])
def test_one_that_cannot_be_read_still_stops(station: Station, octets: bytes) -> None:
    kept = seen_by(station, DAMAGED)
    assert kept is not None
    kept.write_bytes(octets)

    with pytest.raises(IntegrityFailure, match="which cannot be read"):
        incidents.demand_none(station, "TB-1", but="its token is blank")


def test_the_first_sight_is_the_one_that_is_told(station: Station) -> None:
    seen_by(station, DAMAGED)
    seen_by(station, StorageDamaged("a later one", TeeRefused("opening", 0xF0100001, 3)))

    assert "0xffff000f" in incidents.first_seen(station, "TB-1")
