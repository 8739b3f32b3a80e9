"""The station's own provisioning service on a disk that is full, read-only, or made noise of."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DiskFailed, RigError
from provisioning.dps import DpsDevice
from provisioning.http_tls import TlsConnector
from provisioning.local_dps_store import DpsStore, Registration
from provisioning.local_services import ServiceFiles
from provisioning.station import Station
from tests.links.dps_server import DpsServer
from tests.links.est_pki import Pki
from tests.small_disk import fill, read_only, small_disk

pytestmark = pytest.mark.slow
DEVICE, SCOPE = "tb-dps-0001", "0ne00ABCDEF"


def registration(octets: int) -> Registration:
    return Registration("4.a", 0, {"status": "assigned", "more": "x" * octets})


@pytest.mark.fault(
    "Station's disk",
    "the disk of the station's provisioning service is full or read-only while a box registers",
    comes="DiskFailed naming the file and the disk, status 8; nothing is held against the box",
    then="make room (the hint has the command), run it again",
)
def test_box_that_registers_at_a_full_disk_ends_with_the_disk_named(
    tmp_path: Path, pki: Pki
) -> None:
    by, mine = Deadline.after(30), pki.identity(DEVICE)
    with small_disk(tmp_path / "disk", kib=128) as disk, DpsServer(pki) as server:
        server.open, server.store = True, DpsStore(disk / "dps.sqlite")
        server.enrollments._store = server.store
        device = DpsDevice(
            SCOPE,
            DEVICE,
            TlsConnector(pki.text, mine),
            endpoint=server.url,
            trouble=lambda: server.trouble,
        )
        fill(disk)
        with device, pytest.raises(DiskFailed, match=r"dps\.sqlite") as named:
            device.register(by=by)
        assert str(disk) in named.value.message
        (disk / ".ballast").unlink()
        with device:
            assert device.register(by=by).registration_id == DEVICE
        server.store.close()


def test_store_on_a_disk_that_became_read_only_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", kib=128) as disk:
        DpsStore(disk / "dps.sqlite").close()
        with read_only(disk), pytest.raises(DiskFailed, match=r"dps\.sqlite.*Read-only"):
            DpsStore(disk / "dps.sqlite")


@pytest.mark.fault(
    "Services",
    "services/dps.sqlite is noise, or cut",
    comes="RigError naming the file, status 8; nothing is made in its place",
    then="mv it away: the CA's group comes back by itself, other enrollments are made again",
)
@pytest.mark.parametrize("damage", [b"noise" * 4000, b"SQLite format 3\0" + bytes(range(256)) * 16])
def test_store_that_is_damaged_is_named_and_left_as_it_is(tmp_path: Path, damage: bytes) -> None:
    by, files = Deadline.after(60), ServiceFiles(tmp_path)
    files.prepare([])
    place = files.here / "dps.sqlite"
    place.write_bytes(damage)
    with Station(tmp_path / "other").authority(make=True, by=by) as ca:
        with (
            pytest.raises(RigError, match=r"dps\.sqlite, which keeps enrollments") as no,
            files.serving(lambda: ca, days=1),
        ):
            raise AssertionError("it is served")
        assert place.read_bytes() == damage
        assert "mv it away" in no.value.hint

        place.rename(tmp_path / "away")
        with files.serving(lambda: ca, days=1) as running:
            assert running.dps.store.enrollment(True, "factory") is not None


def test_store_that_another_program_holds_is_named(tmp_path: Path) -> None:
    place = tmp_path / "dps.sqlite"
    store, other = DpsStore(place, seconds=0.2), sqlite3.connect(place, isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RigError, match="database is locked"):
            store.register(DEVICE, registration(10))
        other.execute("ROLLBACK")
        store.register(DEVICE, registration(10))
    finally:
        store.close()
        other.close()
