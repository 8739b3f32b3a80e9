"""A token that becomes another one in the middle of a run, or between two: what the runs say of it.

SoftHSM2 stands in the TEE's token's place, at the far end of SSH and p11-kit: see host_box.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import LinkLost, TokenRefused, TrustBoxError
from harness.secret import Secret
from provisioning.keys import KeySession
from provisioning.run import Watcher, provision
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep
from tests.fault_rows import marked
from tests.links.host_box import SERIAL, HostBox, host_box, last_words, recorded
from tests.links.sshd import LocalSshd
from tests.links.token_rows import LABEL, SO, made_with, plan, run, to_the_proof

pytestmark = pytest.mark.slow


@pytest.fixture
def box(sshd: LocalSshd, tmp_path: Path) -> Iterator[HostBox]:
    place = tmp_path / "box"
    place.mkdir()
    with host_box(sshd, place) as made:
        yield made


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


class Meanwhile(Watcher):
    """Does something to the box when a step begins."""

    def __init__(self, step: str, do: Callable[[], None]) -> None:
        self._step, self._do = step, do

    def started(self, step: EffectStep | LookStep) -> None:
        if step.name == self._step:
            self._do()


def other_token(box: HostBox, by: Deadline) -> Path:
    """Tokens of the same label and PINs, with a key of the same CKA_ID that is not the same key."""
    mine, kept = box.place / "tokens", box.place / "kept"
    mine.rename(kept)
    mine.mkdir()
    with closing(KeySession(box.target)) as keys:
        made_with()(keys, by)
    other = box.place / "other"
    mine.rename(other)
    kept.rename(mine)
    return other


def swap(box: HostBox, other: Path) -> None:
    (box.place / "tokens").rename(box.place / "before")
    other.rename(box.place / "tokens")


def ended(box: HostBox) -> None:
    """Ends the program on the box that has the module loaded, and with it its sessions."""
    mine = f"SOFTHSM2_CONF={box.place / 'softhsm2.conf'}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")  # p11-kit's argv[0] is its verb
            if words[0] == b"remote" and mine in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)


def wiped(box: HostBox, by: Deadline) -> None:
    with closing(KeySession(box.target)) as keys:
        keys.token.initialise_again(LABEL, so_pin=Secret(SO.encode()), by=by)


@dataclass(frozen=True)
class Trouble:
    """What happens to the token between the key's step and its proof. ``new``: the key of the
    next run is not that of this one.
    """

    prepare: Callable[[HostBox, Deadline], Callable[[], None]]
    raises: type[TrustBoxError]
    said: str
    new: bool


TROUBLES = {
    "another token of the same label in its place": Trouble(
        lambda box, by: partial(swap, box, other_token(box, by)), TokenRefused, "NO_SUCH_KEY", True
    ),
    "initialised again by another program": Trouble(
        lambda box, by: partial(wiped, box, by), TokenRefused, "NO_SUCH_KEY", True
    ),
    "its sessions ended with their program": Trouble(
        lambda box, by: partial(ended, box), LinkLost, "p11-kit on the box ended", False
    ),
}


SWAPPED = pytest.mark.fault(
    "Token",
    "another token of the same label takes its place in mid-run, or another program wipes it",
    comes="TokenRefused, status 6; no record",
    then="find out who changed the token, then run again: the next run reports that the key is new",
)
DEAD = pytest.mark.fault(
    "Token",
    "the token's program on the box ends in mid-run",
    comes="LinkLost, status 4; no record",
    then="run again: it finds the same key",
)
MARKS = dict(zip(TROUBLES, (SWAPPED, SWAPPED, DEAD), strict=True))


@pytest.mark.parametrize("trouble", marked(TROUBLES, MARKS))
def test_token_that_is_another_one_before_the_proof_gets_no_record(
    box: HostBox, station: Station, trouble: Trouble, by: Deadline
) -> None:
    meanwhile = Meanwhile("key-proof", trouble.prepare(box, by))

    with pytest.raises(trouble.raises, match=trouble.said):
        provision(box.target, plan(box), station, steps=to_the_proof, watcher=meanwhile)
    last, there = last_words(station), (station.records(SERIAL) / "record.json").exists()
    made = first_key(station)
    again = run(box, plan(box), station)

    assert (last, there) == (("key-proof", "failed"), False)
    assert again.work.key is not None
    assert (again.work.key.spki_sha256[:16] != made) is trouble.new
    assert recorded(station, "key", "verdict") == "made-inside"


def first_key(station: Station) -> str:
    """What the journal says of the first key that was made: the beginning of its digest."""
    text = (station.records(SERIAL) / "journal.jsonl").read_text()
    told = re.search(r"device-id \(([0-9a-f]{16})", text)
    assert told is not None
    return told[1]


@pytest.mark.fault(
    "Token",
    "another token of the same label between two runs",
    comes="works: record and report name the key that was replaced; the old certificate"
    " is listed under certificate.superseded",
    then="find out who changed the token, and have the old certificate revoked",
)
def test_token_that_was_swapped_between_runs_is_told_from_the_recorded_one(
    box: HostBox, station: Station, by: Deadline
) -> None:
    first = run(box, plan(box), station)
    assert first.work.key is not None
    swap(box, other_token(box, by))

    again = run(box, plan(box), station)

    assert recorded(station, "key", "replaces_spki_sha256") == first.work.key.spki_sha256
    assert any("not the earlier record's" in report.said for report in again.reports)
