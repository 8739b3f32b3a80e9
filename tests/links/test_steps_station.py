"""A run whose plan says "station": its own EST server and provisioning service, in its process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from cryptography import x509

from harness.deadline import Deadline
from harness.errors import DiskFailed, IntegrityFailure
from provisioning import reprove_certificate
from provisioning.enrolling import judge_of, serving_path
from provisioning.local_dps import HUB
from provisioning.local_dps_store import DpsStore
from provisioning.plan import Plan
from provisioning.run import Provisioned, provision
from provisioning.station import Station
from provisioning.work import Work, need
from tests.links.host_box import DEVICE, SERIAL, As, HostBox, host_box, last_words, recorded
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


@pytest.mark.parametrize("name", ["chain.pem", "root.pem"])
def test_a_file_that_the_line_hands_on_and_is_lost_is_named_with_what_writes_it(
    first: Provisioned, by: Deadline, name: str
) -> None:
    file = first.directory / name
    kept = file.read_bytes()
    file.unlink()
    try:
        with pytest.raises(IntegrityFailure) as refused:
            reprove_certificate.files(first.work, by)
    finally:
        file.write_bytes(kept)

    assert refused.value.message == f"{file} is not there; trustbox provision writes it anew"
    assert reprove_certificate.files(first.work, by).startswith("device.pem, chain.pem")


class Serving:
    """What a run and ``trustbox verify`` make of a certificate that the box shows."""

    name, doing, seconds = "serving", "looking at its certificate", 30.0

    def __init__(self, shown: x509.Certificate) -> None:
        self.shown, self.path = shown, ""

    def look(self, work: Work, by: Deadline) -> str:
        work.chain = (self.shown,)
        try:
            self.path = reprove_certificate.path(work, by)
        except IntegrityFailure as problem:
            self.path = problem.message
        return str(serving_path(work, (self.shown,), judge_of(work)) is not None)


def looking(first: Provisioned, step: Serving) -> tuple[As, Serving]:
    return As(first.work), step


@pytest.mark.fault(
    "CA",
    "a box has a certificate of the issuing CA's key that the index does not know (a stolen copy"
    " of the key signed it)",
    comes="a run certifies the box again; trustbox verify: path FAILED, status 7",
    then="find out who signed it: revoke the issuing CA when its key was copied",
)
def test_certificate_that_the_index_does_not_know_serves_nobody(
    box: HostBox, station: Station, first: Provisioned, tmp_path: Path
) -> None:
    """A copy of the whole CA signs, as whoever has its token could."""
    by, mine = Deadline.after(60), need(first.work.chain, "the certificate")[0]
    shutil.copytree(station.state, tmp_path / "copy", symlinks=True)
    with Station(tmp_path / "copy").authority(by=by) as copied:
        minted, _ = copied.renew(SERIAL, days=30, now=True, by=by)

    seen = {}
    for shown in (mine, minted):
        step = Serving(shown)
        done = provision(box.target, box.plan(""), station, steps=partial(looking, first, step))
        seen[shown] = (done.reports[1].said, step.path)

    assert seen[mine][0] == "True"
    assert seen[mine][1].endswith("not revoked")
    assert seen[minted][0] == "False"
    assert "its index knows nothing of it" in seen[minted][1]


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
