"""What stands in the place of a certificate's file, on the box or on the station, and what comes
of it: the good file is back, and no second certificate was asked for.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provisioning.certificates import pem
from provisioning.run import Outcome
from provisioning.station import Station
from tests.links.est_issuing import Issuing, outcome, plan_for, posted
from tests.links.est_pki import Pki
from tests.links.est_script import ScriptedServer
from tests.links.host_box import HostBox, host_box
from tests.links.sshd import LocalSshd

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prepared(
    sshd: LocalSshd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[HostBox, Pki]]:
    pki = Pki.make(tmp_path_factory.mktemp("pki"))
    with host_box(sshd, tmp_path_factory.mktemp("box")) as made:
        yield made, pki


@pytest.fixture
def box(prepared: tuple[HostBox, Pki]) -> HostBox:
    prepared[0].clean()
    return prepared[0]


@pytest.fixture
def pki(prepared: tuple[HostBox, Pki]) -> Pki:
    return prepared[1]


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


WRONG_FILES: dict[str, Callable[[bytes, bytes], bytes]] = {
    "empty": lambda leaf, root: b"",
    "cut in the first line": lambda leaf, root: leaf[:20],
    "cut in the base64": lambda leaf, root: leaf[:300],
    "cut before the end line": lambda leaf, root: leaf[:-26],
    "DER": lambda leaf, root: base64.b64decode(b"".join(leaf.split(b"\n")[1:-2])),
    "CRLF": lambda leaf, root: leaf.replace(b"\n", b"\r\n"),
    "BOM": lambda leaf, root: b"\xef\xbb\xbf" + leaf,
    "root first": lambda leaf, root: root + leaf,
    "another box's": lambda leaf, root: root,
    "two, the same": lambda leaf, root: leaf + leaf,
    "noise": lambda leaf, root: bytes(range(256)) * 20,
}


@pytest.mark.fault(
    "Files",
    "the box's certificate file is cut (first line, base64, before the end), empty,"
    " noise, DER, CRLF, with a BOM, reversed, twice, or another's",
    comes="works: the good file is back, byte for byte, and no second certificate is asked for",
    then="nothing",
)
@pytest.mark.parametrize("spoil", WRONG_FILES.values(), ids=WRONG_FILES.keys())
def test_wrong_file_on_the_box_is_replaced_and_no_certificate_is_asked_for(
    box: HostBox, pki: Pki, station: Station, spoil: Callable[[bytes, bytes], bytes]
) -> None:
    with ScriptedServer(pki, Issuing(pki, None)) as server:
        plan = plan_for(box, server, pki)
        box.run(plan, station)
        good = box.chain.read_bytes()
        box.chain.write_bytes(spoil(good, pem(pki.root)))
        done = box.run(plan, station)
        asked = len(posted(server))

    assert (asked, box.chain.read_bytes()) == (1, good)
    assert outcome(done, "certificate") is Outcome.ALREADY
    assert outcome(done, "install") is Outcome.DONE


@pytest.mark.fault(
    "Files",
    "the box's certificate file has a wrong mode or owner, or a link is in its place",
    comes="works: a file of root's with mode 0644; nothing was written through the link",
    then="nothing",
)
def test_link_or_open_mode_in_the_files_place_is_undone(
    box: HostBox, pki: Pki, station: Station, tmp_path: Path
) -> None:
    with ScriptedServer(pki, Issuing(pki, None)) as server:
        plan = plan_for(box, server, pki)
        box.run(plan, station)
        elsewhere = tmp_path / "elsewhere.pem"
        good = box.chain.read_bytes()
        box.chain.rename(elsewhere)
        box.chain.symlink_to(elsewhere)
        box.run(plan, station)
        assert not box.chain.is_symlink()
        box.chain.chmod(0o666)
        box.run(plan, station)

    assert box.chain.stat().st_mode & 0o777 == 0o644
    assert (box.chain.read_bytes(), elsewhere.read_bytes()) == (good, good)


@pytest.mark.fault(
    "Files",
    "the station's own copies (device.pem, chain.pem, request.der) are cut",
    comes="works: they are written again from what the box shows",
    then="nothing",
)
@pytest.mark.parametrize("name", ["device.pem", "chain.pem", "request.der"])
def test_spoilt_file_of_the_station_is_made_anew_from_what_the_box_shows(
    box: HostBox, pki: Pki, station: Station, name: str
) -> None:
    with ScriptedServer(pki, Issuing(pki, None)) as server:
        plan = plan_for(box, server, pki)
        box.run(plan, station)
        place = station.records("TB-HOST-0001") / name
        before = (station.records("TB-HOST-0001") / "device.pem").read_bytes()
        place.write_bytes(place.read_bytes()[:100])
        box.run(plan, station)

    assert len(posted(server)) == 1
    assert (station.records("TB-HOST-0001") / "device.pem").read_bytes() == before
