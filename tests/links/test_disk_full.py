"""The station's disk is full at each of its writes: the disk is named, and nothing is lost.

On a small file system of its own, filled. The journal is in tests/unit/test_journal.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from harness.deadline import Deadline
from harness.errors import DiskFailed
from harness.target import EvidenceLevel
from provisioning.authority_entry import NewRow
from provisioning.authority_index import Index
from provisioning.issued import keep_issued
from provisioning.local_dps_store import DpsStore, Registration
from provisioning.pin_budget import PinBudget
from provisioning.pins import Pins
from provisioning.record import observed, save
from provisioning.softhsm import softhsm_token
from provisioning.token_session import TokenAway
from provisioning.token_state import TokenFlags, TokenState
from provisioning.work import Work
from tests.links.est_pki import Pki
from tests.small_disk import fill, small_disk

KIB = 256
Write = Callable[[], object]
TOKEN = TokenState(0, "box", "0001", "m", "m", "d", TokenFlags(0), None)


def record(disk: Path) -> Write:
    facts = {"box": {"serial": observed("TB-1")}}
    return lambda: save(disk / "record.json", facts, EvidenceLevel.FUNCTIONAL)


def pins(disk: Path) -> Write:
    return lambda: Pins.make(disk / "pins.toml")


def budget(disk: Path) -> Write:
    counting = PinBudget(disk / "pin-failures")

    def tried() -> None:
        with suppress(ZeroDivisionError), counting.trying(TOKEN, "user"):
            raise ZeroDivisionError  # nothing but a counted try comes here

    return tried


def issued(disk: Path) -> Write:
    pki = Pki.make(disk.parent)
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    work = cast(Work, SimpleNamespace(directory=disk))
    return lambda: keep_issued(work, pki.issue(key, "tb-1"))


def index(disk: Path) -> Write:
    made, numbers = Index(disk / "index.sqlite"), iter(range(1, 9))
    made.create()
    return lambda: made.begin(NewRow(next(numbers), "device", "TB-1", "ab" * 32))


def dps(disk: Path) -> Write:
    store = DpsStore(disk / "dps.sqlite")
    wide: dict[str, object] = {"deviceId": "x" * 8192}
    return lambda: store.register("tb-1", Registration("4.a", 0, wide))


WRITES: Mapping[str, tuple[str, Callable[[Path], Write]]] = {
    "record": ("F-12", record),
    "PIN file": ("F-13", pins),
    "PIN budget": ("F-14", budget),
    "issued certificate": ("F-15", issued),
    "CA index": ("F-16", index),
    "DPS store": ("F-17", dps),
}


def full_at(case: str) -> pytest.MarkDecorator:
    return pytest.mark.fault(
        "Station's disk",
        "full at the write of a record, PIN file, count of PINs, issued certificate, the CA's"
        " index, or the DPS store",
        comes="DiskFailed, status 8, with the file and its disk; the file is as it was, nothing is"
        " left half, and no PIN was tried; a service answers 503",
        then="make room (df shows where), then run the same again: it goes on",
        case=case,
    )


def there(disk: Path) -> dict[str, bytes]:
    """All that must stay as it was."""
    files = (file for file in disk.rglob("*") if file.is_file() and file.name != ".ballast")
    return {str(file.relative_to(disk)): file.read_bytes() for file in files}


@pytest.mark.parametrize(
    "arrange",
    [pytest.param(do, id=name, marks=full_at(case)) for name, (case, do) in WRITES.items()],
)
def test_a_full_disk_at_a_write_is_named_and_nothing_is_lost(
    tmp_path: Path, arrange: Callable[[Path], Write]
) -> None:
    with small_disk(tmp_path / "disk", KIB) as disk:
        write = arrange(disk)
        write()
        before = there(disk)
        fill(disk)

        with pytest.raises(DiskFailed, match=rf"No space left .*mounted at {disk}") as full:
            write()
        assert there(disk) == before
        (disk / ".ballast").unlink()
        write()

    assert full.value.exit_status == 8
    assert "Make room" in full.value.hint


@pytest.mark.slow
@pytest.mark.fault(
    "Station's disk",
    "full in the HSM's token directory (SoftHSM2)",
    comes="DiskFailed when the token is made, TokenAway when a key is, both status 8; PINs and"
    " earlier keys are as they were, and no half key is left",
    then="make room, then run the same again: the next try makes it",
    case="F-18",
)
def test_a_full_token_directory_is_the_stations_trouble_and_costs_no_key(
    tmp_path: Path, by: Deadline
) -> None:
    with small_disk(tmp_path / "disk", KIB) as disk:
        state = disk / "ca-token"
        state.mkdir(mode=0o700)
        (state / "softhsm2.conf").write_text("to be written again")
        fill(disk, leave=4096)
        with pytest.raises(DiskFailed, match=f"mounted at {disk}"):
            softhsm_token(state, "line", by=by)
        (disk / ".ballast").unlink()
        token = softhsm_token(state, "line", by=by)
        token.ensure(b"first", "first", by=by)
        before = token.objects(by=by)
        fill(disk)
        with pytest.raises(TokenAway, match="cannot be used now") as away:
            token.ensure(b"second", "second", by=by)
        kept = token.objects(by=by)
        (disk / ".ballast").unlink()
        made, new = token.ensure(b"second", "second", by=by)
        token.close()

    assert (away.value.exit_status, "room on its disk" in away.value.hint) == (8, True)
    assert sorted(kept) == sorted(before)
    assert (made.id, new) == (b"second", True)
