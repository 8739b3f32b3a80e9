"""Where locks and quarantine marks are: nobody but its users may change what is there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from harness import bench_lab
from harness.bench_lab import get, lab_directory, put
from harness.bench_lock import BenchHeld, BenchLock
from harness.bench_owner import Owner
from harness.bench_quarantine import quarantine, quarantined
from harness.errors import RigError

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
SOMEBODY = 65534


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """None of this machine's own labs."""
    monkeypatch.delenv("TRUSTBOX_LAB", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(bench_lab, "SHARED", tmp_path / "shared")
    monkeypatch.setattr(bench_lab, "BEFORE", tmp_path / "before")
    return tmp_path


def made(path: Path, mode: int, owner: int | None = None) -> Path:
    path.mkdir()
    if owner is not None:
        os.chown(path, owner, owner)
    path.chmod(mode)
    return path


def test_without_a_word_the_lab_is_this_user_s_alone(places: Path) -> None:
    found = lab_directory()

    assert found == places / "state" / "trustbox" / "lab"
    assert stat.S_IMODE(found.stat().st_mode) == 0o700


def test_a_station_s_shared_lab_is_used_where_there_is_one(places: Path) -> None:
    made(places / "shared", 0o2770)

    assert lab_directory() == places / "shared"


@pytest.mark.fault(
    "Files",
    "a lab directory that any user of the station may write to",
    comes="RigError, status 8, naming the directory and its mode; no bench is opened",
    then="chmod 700, or give it to a group and chmod 2770 (docs/benches.md)",
)
@pytest.mark.parametrize("mode", [0o777, 0o707, 0o2777])
def test_a_lab_that_everybody_may_write_to_is_refused(places: Path, mode: int) -> None:
    with pytest.raises(RigError, match="everybody may write to it") as caught:
        lab_directory(made(places / "open", mode))
    assert "chmod 2770" in caught.value.hint


@ROOT
@pytest.mark.parametrize("mode", [0o755, 0o700, 0o1777])
def test_a_lab_that_a_stranger_owns_is_refused_and_with_the_sticky_bit_too(
    places: Path, mode: int
) -> None:
    with pytest.raises(RigError, match="neither root's nor yours"):
        lab_directory(made(places / "planted", mode, SOMEBODY))


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o2770, 0o1777])
def test_a_lab_of_ours_is_used_whoever_may_read_it(places: Path, mode: int) -> None:
    assert lab_directory(made(places / "own", mode)) == places / "own"


@pytest.mark.fault(
    "Files",
    "quarantine marks in /var/tmp/trustbox-lab, where an earlier version kept them",
    comes="RigError, status 8, naming them; no bench is opened without a named lab directory",
    then="move the marks that hold into the new directory and remove the old one",
)
def test_marks_in_the_old_place_stop_everybody_until_they_are_moved(places: Path) -> None:
    old = made(places / "before", 0o777)
    quarantine(old, ["line-a"], serial="TB-0001", reason="no breath")
    with pytest.raises(RigError, match=r"1 benches are in quarantine in .*before") as caught:
        lab_directory()
    assert f"rm -r {old}" in caught.value.hint

    (old / "line-a.quarantine").unlink()
    assert lab_directory() == places / "state" / "trustbox" / "lab"


def test_an_old_place_that_nobody_could_clear_shuts_nobody_out(places: Path) -> None:
    """It was never ours: any user can make a directory of that name."""
    (made(places / "before", 0o755) / "line-a.quarantine").touch()

    assert lab_directory().is_dir()


def test_a_planted_link_has_no_file_truncated(places: Path) -> None:
    victim = places / "victim"
    victim.write_text("precious")
    lab = lab_directory()
    (lab / "bench-07.turn").symlink_to(victim)

    with pytest.raises(RigError, match="cannot be locked"):
        BenchLock(lab, "bench-07").take()
    assert victim.read_text() == "precious"


def test_a_planted_link_gets_no_heartbeat_and_no_clock(places: Path) -> None:
    """The age of a lock is that of the link, and what it leads to keeps its time."""
    victim = places / "victim"
    victim.write_text("{}")
    os.utime(victim, (1, 1))
    lab = lab_directory()
    (lab / "bench-07.lock").symlink_to(victim)

    with pytest.raises(BenchHeld):
        BenchLock(lab, "bench-07").take()
    assert victim.stat().st_mtime == 1
    assert not list(lab.glob(".clock*"))


NUMBERS = ["1e999", "NaN", "-1e999", "1e30", "true", '"7"', "null", "1" + "0" * 400]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("key", ["pid", "started", "since"])
def test_no_number_of_a_foreign_lock_breaks_anything(places: Path, key: str, number: str) -> None:
    lock = BenchLock(lab_directory(), "bench-07")
    put(lock.path, Owner.here("x").as_dict() | {"machine": "another", key: "@"})
    lock.path.write_text(lock.path.read_text().replace('"@"', number))

    with pytest.raises(BenchHeld, match=r"cannot be read|is held by"):
        lock.take()


@pytest.mark.parametrize("number", NUMBERS)
def test_no_number_of_a_foreign_mark_breaks_anything(places: Path, number: str) -> None:
    lab = lab_directory()
    (lab / "line-a.quarantine").write_text(f'{{"since": {number}, "reason": "no breath"}}')

    mark = quarantined(lab, ["line-a"])
    assert mark is not None
    assert "no breath" in str(mark)


def test_a_reason_in_any_script_can_be_read_again(places: Path) -> None:
    lab = lab_directory()
    quarantine(lab, ["line-a"], serial="TB-0001", reason="\udc80" + "死" * 3000)

    mark = quarantined(lab, ["line-a"])
    assert mark is not None
    assert mark.reason.endswith("死" * 999)
    assert mark.serial == "TB-0001"


def test_what_cannot_be_written_leaves_nothing_behind(places: Path) -> None:
    (places / "line-a.lock").mkdir()
    (places / "line-a.lock" / "x").touch()
    with pytest.raises(RigError, match="cannot be written"):
        put(places / "line-a.lock", {"a": 1})
    with pytest.raises(RigError, match="longer than"):
        put(places / "line-b.lock", {"a": "x" * 9000})

    assert [p.name for p in places.glob(".new-*")] == []
    assert get(places / "line-b.lock") is None
