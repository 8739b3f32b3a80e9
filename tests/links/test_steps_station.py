"""A run whose plan says "station": its own EST server and provisioning service, in its process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import DiskFailed
from provisioning.local_dps import HUB
from provisioning.local_dps_store import DpsStore
from provisioning.plan import Plan
from provisioning.run import Provisioned
from provisioning.station import Station
from tests.links.host_box import DEVICE, HostBox, host_box, last_words, recorded
from tests.links.sshd import LocalSshd
from tests.small_disk import fill, small_disk

pytestmark = pytest.mark.slow
REGISTERS = '[enrollment.dps]\nservice = "station"\n'
EDGE = f'{REGISTERS}[iotedge]\nidentity = "installed"\n'


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with small_disk(tmp_path_factory.mktemp("small") / "disk", kib=256) as at:
        yield at


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, disk: Path) -> Station:
    """What its services keep is on a disk of its own."""
    state = tmp_path_factory.mktemp("station")
    (disk / "services").mkdir(mode=0o700)
    (state / "services").symlink_to(disk / "services")
    return Station(state)


@pytest.fixture(scope="module")
def box(sshd: LocalSshd, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostBox]:
    with host_box(sshd, tmp_path_factory.mktemp("box")) as made:
        yield made


@pytest.fixture(scope="module")
def first(box: HostBox, station: Station) -> Provisioned:
    """The box has its certificate; nothing was registered."""
    return box.run(box.plan(""), station)


def again(box: HostBox, station: Station, first: Provisioned, plan: Plan) -> Provisioned:
    """It registers, and has never done so."""
    with_nothing(station)
    return box.register(plan, station, earlier=first.work, seconds=30)


def with_nothing(station: Station) -> None:
    place = station.state / "services" / "dps.sqlite"
    if place.exists():
        store = DpsStore(place)
        store.forget_registration(DEVICE)
        store.close()


def group_of(station: Station) -> object:
    store = DpsStore(station.state / "services" / "dps.sqlite")
    found = store.enrollment(True, "factory")
    store.close()
    assert found is not None
    return found.body["capabilities"]


def test_box_with_iot_edge_is_enrolled_as_one_and_stays_so(
    box: HostBox, station: Station, first: Provisioned
) -> None:
    again(box, station, first, box.plan(REGISTERS))
    plain = group_of(station)
    again(box, station, first, box.plan(EDGE))
    edge = group_of(station)
    again(box, station, first, box.plan(REGISTERS))

    assert (plain, edge) == ({"iotEdge": False}, {"iotEdge": True})
    assert group_of(station) == {"iotEdge": True}
    assert recorded(station, "enrollment", "hub") == HUB


@pytest.mark.fault(
    "Station's disk",
    "the disk of services/ is full while a box registers in a run",
    comes="DiskFailed naming file and disk, status 8, at once; the box is as it was",
    then="make room, run it again: it goes on at the registration",
)
def test_run_that_registers_at_a_full_disk_names_the_disk_and_goes_on_when_there_is_room(
    box: HostBox, station: Station, first: Provisioned, disk: Path
) -> None:
    again(box, station, first, box.plan(REGISTERS))
    with_nothing(station)
    fill(disk)
    with pytest.raises(DiskFailed, match=r"dps\.sqlite") as named:
        box.register(box.plan(REGISTERS), station, earlier=first.work, seconds=30)
    assert last_words(station) == ("register", "failed")
    (disk / ".ballast").unlink()

    done = box.register(box.plan(REGISTERS), station, earlier=first.work, seconds=30)

    assert "the disk mounted at" in named.value.message
    assert named.value.exit_status == 8
    assert "is assigned to" in done.reports[1].said
