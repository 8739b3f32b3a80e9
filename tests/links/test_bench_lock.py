"""One process holds a bench: against real other processes, and files that others left."""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.bench_lab import get, lab_directory, lab_keys, line_key, mark_keys, put, serial_key
from harness.bench_lock import BenchHeld, BenchLock
from harness.bench_owner import Owner
from harness.bench_quarantine import quarantine, quarantined, refuse, release
from harness.errors import RigError

HOLDER = """
import sys
from pathlib import Path
from harness.bench_lock import BenchLock
BenchLock(Path(sys.argv[1]), "bench-07").take()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds bench-07 until its stdin ends."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "held\n"
        yield started
        started.kill()


def somebody(**changes: object) -> Owner:
    """An owner on another machine."""
    elsewhere = dataclasses.replace(Owner.here("bench-07"), machine="another", host="station-2")
    return dataclasses.replace(elsewhere, **changes)  # type: ignore[arg-type]


def left(path: Path, owner: Owner, *, seconds_ago: float = 0.0) -> None:
    put(path, owner.as_dict())
    at = path.stat().st_mtime - seconds_ago
    os.utime(path, (at, at))


def test_a_bench_that_another_process_holds_is_refused_with_its_owner(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with pytest.raises(BenchHeld, match=f"@.*, process {holder.pid}, as bench-07, since") as caught:
        BenchLock(tmp_path, "bench-07").take()

    assert caught.value.owner is not None
    assert caught.value.owner.pid == holder.pid


def test_a_dead_owner_s_bench_is_taken_over_and_that_is_logged(
    tmp_path: Path, holder: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    holder.kill()
    holder.wait()
    lock = BenchLock(tmp_path, "bench-07")
    with caplog.at_level(logging.WARNING, "harness.bench"):
        dead = lock.take()

    assert dead is not None
    assert dead.pid == holder.pid
    assert f"process {holder.pid}" in caplog.text
    lock.release()


def test_a_released_bench_is_free(tmp_path: Path) -> None:
    lock = BenchLock(tmp_path, "bench-07")
    assert lock.take() is None
    lock.release()
    lock.release()

    assert not lock.path.exists()
    assert BenchLock(tmp_path, "bench-07").look() is None


def test_other_benches_are_not_in_the_way(tmp_path: Path) -> None:
    locks = [BenchLock(tmp_path, f"bench-{n}") for n in (7, 8)]
    for lock in locks:
        lock.take()
    for lock in locks:
        lock.release()


def test_a_process_number_that_is_used_again_is_another_process(tmp_path: Path) -> None:
    lock = BenchLock(tmp_path, "bench-07")
    left(lock.path, dataclasses.replace(Owner.here("bench-07"), started=1))

    assert lock.take() is not None
    lock.release()


def test_another_machine_s_heartbeat_decides(tmp_path: Path) -> None:
    lock = BenchLock(tmp_path, "bench-07", dead_seconds=60)
    left(lock.path, somebody(), seconds_ago=30)
    with pytest.raises(BenchHeld, match="station-2"):
        lock.take()

    left(lock.path, somebody(), seconds_ago=90)
    dead = lock.take()
    assert dead is not None
    assert dead.host == "station-2"
    lock.release()


def test_a_lock_that_cannot_be_read_is_respected_until_it_is_old(tmp_path: Path) -> None:
    lock = BenchLock(tmp_path, "bench-07", dead_seconds=60)
    lock.path.write_text("not ours")
    with pytest.raises(BenchHeld, match="cannot be read"):
        lock.take()

    os.utime(lock.path, (1, 1))
    assert lock.take() is None
    lock.release()


def test_the_heart_beats(tmp_path: Path) -> None:
    lock = BenchLock(tmp_path, "bench-07", beat_seconds=0.02)
    lock.take()
    os.utime(lock.path, (1, 1))
    beat = threading.Event()
    for _ in range(500):
        if lock.path.stat().st_mtime > 1:
            beat.set()
            break
        threading.Event().wait(0.02)
    lock.release()

    assert beat.is_set()


def test_who_lost_a_bench_hears_of_it_and_leaves_the_new_owner_alone(tmp_path: Path) -> None:
    heard: list[str] = []
    told = threading.Event()

    def lost(why: str) -> None:
        heard.append(why)
        told.set()

    lock = BenchLock(tmp_path, "bench-07", lost=lost, beat_seconds=0.02)
    lock.take()
    put(lock.path, somebody().as_dict())

    assert told.wait(10)
    assert "taken over by" in heard[0]
    lock.release()
    assert lock.path.exists()


def test_what_an_owner_says_cannot_drive_a_terminal(tmp_path: Path) -> None:
    lock = BenchLock(tmp_path, "bench-07")
    put(lock.path, somebody(user="\x1b[2Jroot").as_dict())
    with pytest.raises(BenchHeld) as caught:
        lock.take()

    assert "\x1b" not in caught.value.message


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text('{"user": "x"}')
    (tmp_path / "bench-07.lock").symlink_to(tmp_path / "secret")

    assert get(tmp_path / "bench-07.lock") == {}


def test_a_place_for_locks_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RigError, match="file cannot keep the benches' locks") as caught:
        lab_directory(tmp_path / "file")

    assert "lab_directory" in caught.value.diagnostics()


def test_the_place_for_locks_can_be_named_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUSTBOX_LAB", str(tmp_path / "shared"))

    assert lab_directory() == tmp_path / "shared"
    assert (tmp_path / "shared").is_dir()
    assert lab_directory(tmp_path / "own") == tmp_path / "own"


def test_names_of_files_are_different_for_different_lines_and_harmless() -> None:
    lines = ["/dev/ttyUSB0", "/dev/ttyUSB1", "rfc2217://lab:4007", "rfc2217://lab/4007", "a" * 500]
    keys = [line_key(line) for line in lines] + [serial_key("../../TB 1"), serial_key("TB 1")]

    assert len(set(keys)) == len(keys)
    assert all("/" not in key and len(key) < 100 for key in keys)


def test_a_box_in_quarantine_is_refused_with_the_reason(tmp_path: Path) -> None:
    quarantine(tmp_path, ["bench-07"], serial="TB-0042", reason="did not come back")

    with pytest.raises(RigError, match=r"in quarantine: TB-0042 since .*: did not come back") as no:
        refuse(tmp_path, ["bench-07"], "bench-07")
    assert "trustbox targets release bench-07" in no.value.diagnostics()


def test_a_quarantine_ends_with_its_release(tmp_path: Path) -> None:
    quarantine(tmp_path, ["bench-07"], serial="TB-0042", reason="did not come back")
    mark = release(tmp_path, ["bench-07"])

    assert mark is not None
    assert mark.reason == "did not come back"
    refuse(tmp_path, ["bench-07"], "bench-07")
    assert release(tmp_path, ["bench-07"]) is None


def test_a_mark_that_cannot_be_read_is_a_mark(tmp_path: Path) -> None:
    (tmp_path / "bench-07.quarantine").write_text("[]")

    assert quarantined(tmp_path, ["bench-07"]) is not None


def test_a_mark_is_on_bench_and_box_and_is_lifted_from_both(tmp_path: Path) -> None:
    keys = lab_keys("/dev/ttyUSB0", "TB-0042")
    elsewhere, other = lab_keys("/dev/ttyUSB1", "TB-0042"), lab_keys("/dev/ttyUSB1", "TB-0043")
    quarantine(tmp_path, keys, serial="TB-0042", reason="did not come back")

    refuse(tmp_path, other, "bench-08")
    for marked in (keys, elsewhere, lab_keys("/dev/ttyUSB0", "TB-0043")):
        with pytest.raises(RigError, match="did not come back"):
            refuse(tmp_path, marked, "bench-07")
    release(tmp_path, elsewhere)

    assert quarantined(tmp_path, keys) is None


def test_a_mark_that_names_other_files_lifts_none_of_them(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    (tmp_path / "line-x.quarantine").touch()
    put(lab / "line-y.quarantine", {"keys": ["../line-x", "line-/../../line-x", 7]})
    release(lab, ["line-y"])

    assert (tmp_path / "line-x.quarantine").exists()


def test_a_line_has_one_name_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "by-id").symlink_to("/dev/null")

    assert line_key(str(tmp_path / "by-id")) == line_key("/dev/null") == line_key("//dev/./null")
    assert line_key("spy:///dev/null?file=log") == line_key("/dev/null")
    assert (
        line_key("rfc2217://LAB:4007")
        == line_key("rfc2217://lab:4007/?ign_set_control")
        == line_key("socket://lab:4007")
    )
    assert line_key("rfc2217://lab:4007") != line_key("rfc2217://lab:4008")


def test_a_mark_stays_with_its_bench_when_adapters_change_numbers(tmp_path: Path) -> None:
    adapter = tmp_path / "by-id-7"
    adapter.symlink_to("/dev/null")
    quarantine(tmp_path, mark_keys(str(adapter), "TB-0042"), serial="TB-0042", reason="it hung")
    refuse(tmp_path, mark_keys("/dev/null", "TB-0043"), "bench-08")
    adapter.unlink()
    adapter.symlink_to("/dev/zero")
    with pytest.raises(RigError, match="it hung"):
        refuse(tmp_path, mark_keys(str(adapter), None), "bench-07")
