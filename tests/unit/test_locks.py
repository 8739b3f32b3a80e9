"""A lock among processes: one at a time, never waited for without end, and trouble has a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, DiskFailed, Misuse
from provisioning.locks import locked, locked_at_once
from provisioning.station import Station, alone_with
from tests.small_disk import read_only, small_disk


def test_who_waits_for_a_lock_gives_up_and_says_for_whom(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock", "nobody", by=Deadline.after(5)),
        pytest.raises(DeadlineExpired, match=r"waiting for another process that signs"),
        locked(tmp_path / "lock", "another process that signs", by=Deadline.after(0.1)),
    ):
        pytest.fail("two at once")


def test_a_lock_that_was_let_go_is_had(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "lock", "nobody", by=Deadline.after(5)):
            pass
        with locked_at_once(tmp_path / "lock", "somebody has it"):
            pass


def test_who_does_not_wait_is_told_at_once(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "lock", "nobody", by=Deadline.after(5)),
        pytest.raises(Misuse, match="somebody has it"),
        locked_at_once(tmp_path / "lock", "somebody has it"),
    ):
        pytest.fail("two at once")


def test_what_fails_inside_comes_out_as_it_is_and_lets_the_lock_go(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError), locked_at_once(tmp_path / "lock", "somebody has it"):
        raise TimeoutError
    with locked_at_once(tmp_path / "lock", "somebody has it"):
        pass


@pytest.mark.fault(
    "Station's disk",
    "the records' directory is on a disk that became read-only",
    comes="DiskFailed, status 8, with the lock's file and its disk; nothing was done",
    then="look at dmesg; run the same again when it can be written",
)
def test_a_record_on_a_read_only_disk_is_a_sentence(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        records = Station(disk).records("TB-1")
        with alone_with(records, "TB-1"):
            pass
        with (
            read_only(disk),
            pytest.raises(DiskFailed, match=rf"\.lock cannot be locked: Read-only.*at {disk}"),
            alone_with(records, "TB-1"),
        ):
            pytest.fail("locked")


def test_a_lock_where_none_can_be_is_the_callers_to_change(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()

    with pytest.raises(Misuse, match="cannot be locked"), locked_at_once(tmp_path / "lock", "x"):
        pytest.fail("locked")
