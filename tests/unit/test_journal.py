"""A journal's lines are whole or alone, on the disk before the next thing is done, and what was
begun and never ended is found."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from harness.errors import DiskFailed
from provisioning.journal import Journal, unended
from tests.small_disk import files_of_at_most


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@pytest.mark.fault(
    "Files",
    "a power cut leaves half a line at the end of a journal",
    comes="nothing: the half line stays, alone, and what is written next is a line of its own",
    then="nothing; the line before it says what was begun",
    case="F-31",
)
def test_an_intent_after_a_torn_line_is_a_line_of_its_own(place: Path) -> None:
    with Journal(place, "first") as journal:
        journal.begin("token", "initialising the token")
    whole = place.read_bytes()
    place.write_bytes(whole + b'{"at": "2026-1')

    with Journal(place, "second") as journal:
        journal.begin("key", "making the key")

    assert lines(place)[:2] == [whole.strip(), b'{"at": "2026-1']
    assert json.loads(lines(place)[2])["step"] == "key"


def test_a_line_that_the_disk_took_only_in_part_is_not_durable(place: Path) -> None:
    with Journal(place, "run") as journal:
        with files_of_at_most(20), pytest.raises(DiskFailed, match=r"journal\.jsonl cannot be"):
            journal.begin("token", "initialising the token")
        journal.end("token", "failed", "no room")  # room was made, in the same run

    assert len(lines(place)[0]) == 20
    assert json.loads(lines(place)[1])["phase"] == "failed"


@pytest.mark.fault(
    "Station's disk",
    "full when a run or a command writes down what it is about to do",
    comes="DiskFailed, status 8; nothing was done to the box",
    then="make room, then run the same again",
    case="F-11",
)
def test_a_full_disk_is_the_stations_trouble_and_named() -> None:
    """/dev/full is a real device that has no space left."""
    with pytest.raises(DiskFailed, match="/dev/full cannot be written: No space left") as full:
        Journal(Path("/dev/full"), "run").begin("token", "initialising the token")

    assert full.value.exit_status == 8
    assert "Make room" in full.value.diagnostics()


def test_what_was_begun_and_never_ended_is_told(place: Path) -> None:
    with Journal(place, "first") as journal:
        journal.begin("wipe t", "wiping the token t", {"certificates": ["1f"]})
        journal.begin("key", "making the key").done("made")
        journal.begin("attest", "attesting").failed("LinkLost: gone")
    place.write_bytes(place.read_bytes() + b"\xff\n[]\n" + b"[" * 100_000 + b'\n{"half')

    [left] = unended(place)

    assert (left.run, left.step, left.facts) == ("first", "wipe t", {"certificates": ["1f"]})
    assert "wiping the token t" in left.told


@pytest.mark.parametrize("outcome", ["done", "already"])
def test_a_later_run_that_did_the_step_or_found_it_done_ends_it(place: Path, outcome: str) -> None:
    with Journal(place, "cut") as journal:
        journal.begin("key", "making the key")
    with Journal(place, "next") as journal:
        journal.end("token", outcome, "another step")
        assert len(unended(place)) == 1
        journal.end("key", outcome, "it is there")

    assert unended(place) == ()


def test_a_later_run_that_failed_does_not_end_what_was_cut(place: Path) -> None:
    with Journal(place, "cut") as journal:
        journal.begin("key", "making the key")
    with Journal(place, "next") as journal:
        journal.begin("key", "making the key").failed("LinkLost: gone")

    assert [left.run for left in unended(place)] == ["cut"]


def test_without_a_journal_nothing_was_begun(place: Path) -> None:
    assert unended(place) == ()


def test_two_that_write_at_once_do_not_cut_each_others_lines(place: Path) -> None:
    fork = multiprocessing.get_context("spawn")
    writers = [fork.Process(target=_write, args=(place, f"run-{n}")) for n in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)

    # One that meets the other's line in the making takes it for a torn one: an empty line between.
    assert [json.loads(line)["step"] for line in lines(place) if line].count("key") == 100


def _write(place: Path, run: str) -> None:
    with Journal(place, run) as journal:
        for _ in range(50):
            journal.begin("key", "making the key" * 50)


def test_a_journal_keeps_what_earlier_runs_wrote(place: Path) -> None:
    for run in ("first", "second"):
        with Journal(place, run) as journal:
            journal.begin("token", "initialising")

    assert [json.loads(line)["run"] for line in lines(place)] == ["first", "second"]


def test_an_intent_is_on_the_disk_when_begin_returns(place: Path) -> None:
    with Journal(place, "run") as journal:
        journal.begin("token", "initialising")

        assert json.loads(place.read_text())["phase"] == "intent"
