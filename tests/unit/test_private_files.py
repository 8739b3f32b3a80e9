"""Private files and directories are ours alone, whole, on the disk; and trouble has a name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import BadInput, DiskFailed, Misuse
from provisioning.private_files import (
    LARGEST,
    private_directory,
    read_bounded,
    read_private,
    write_durably,
)
from tests.small_disk import files_of_at_most, fill, read_only, small_disk

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a file to somebody else")
SOMEBODY = 54321


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_every_directory_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    made = private_directory(tmp_path / "state" / "records" / "TB-1")

    assert [mode(place) for place in (made, made.parent, made.parent.parent)] == [0o700] * 3


def test_new_directories_are_on_the_disk_in_their_parents(tmp_path: Path) -> None:
    """Seen from outside: what the system was asked to do, in which order."""
    program = (
        "import sys, pathlib; from provisioning.private_files import private_directory as p;"
        "p(pathlib.Path(sys.argv[1]))"
    )
    place = tmp_path / "state" / "records"
    argv = ["strace", "-f", "-y", "-e", "trace=mkdir,mkdirat,fsync", "-o", str(tmp_path / "calls")]
    try:
        subprocess.run([*argv, sys.executable, "-c", program, str(place)], check=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("strace is not installed")
    calls = (tmp_path / "calls").read_text()
    if "mkdir" not in calls:
        pytest.skip("strace sees nothing here (ptrace is forbidden)")

    synced = [line for line in calls.splitlines() if "fsync(" in line]
    assert any(f"<{tmp_path}>" in line for line in synced)
    assert any(f"<{tmp_path / 'state'}>" in line for line in synced)


@pytest.mark.fault(
    "Files",
    "a directory of the station that others may write",
    comes="Misuse, status 2; nothing was read from it and nothing written",
    then="look whether something in it was exchanged, then chmod go-w",
)
@pytest.mark.parametrize("others", [0o770, 0o707, 0o1777])
def test_a_directory_that_others_may_write_is_refused(tmp_path: Path, others: int) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(others)

    with pytest.raises(Misuse, match=rf"mode {others:04o}") as refused:
        private_directory(tmp_path / "state")

    assert "chmod go-w" in refused.value.diagnostics()
    assert mode(tmp_path / "state") == others


def test_a_directory_of_the_version_before_is_taken(tmp_path: Path) -> None:
    """It made parents 0755: others see names in it, and every secret in it is a file of 0600."""
    (tmp_path / "state").mkdir(mode=0o755)

    assert private_directory(tmp_path / "state") == tmp_path / "state"


@as_root
@pytest.mark.fault(
    "Files",
    "a directory or a secret's file of the station belongs to somebody else",
    comes="Misuse, status 2, with the owner's name",
    then="name one of your own, or chown it",
)
def test_what_belongs_to_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pins.toml").write_bytes(b"x")
    (tmp_path / "pins.toml").chmod(0o600)
    os.chown(tmp_path / "pins.toml", SOMEBODY, -1)
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", SOMEBODY, -1)

    with pytest.raises(Misuse, match=f"belongs to uid {SOMEBODY}"):
        private_directory(tmp_path / "state")
    with pytest.raises(BadInput, match=f"its owner is 'uid {SOMEBODY}'"):
        read_private(tmp_path / "pins.toml")


def test_a_file_larger_than_can_be_is_refused_and_never_cut(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(LARGEST + 1))
    (tmp_path / "file").chmod(0o600)

    assert len(read_bounded(tmp_path / "file", LARGEST + 1)) == LARGEST + 1
    with pytest.raises(BadInput, match="its size is 'more than 65536 octets'"):
        read_bounded(tmp_path / "file", LARGEST)
    with pytest.raises(BadInput, match="its size"):
        read_private(tmp_path / "file")


@pytest.mark.parametrize("read", [read_private, lambda path: read_bounded(path, 10)])
@pytest.mark.parametrize("name", ["not-there", ".", "file/below"])
def test_what_cannot_be_read_is_the_callers_to_change(
    tmp_path: Path, read: Callable[[Path], bytes], name: str
) -> None:
    (tmp_path / "file").write_bytes(b"x")

    with pytest.raises(BadInput, match=r"the file is '(No such file|Is a dir|Not a dir)"):
        read(tmp_path / name)


@pytest.mark.parametrize("taken", ["a directory", "not there", "below a file"])
def test_a_place_that_cannot_be_written_is_the_callers_to_change(
    tmp_path: Path, taken: str
) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    name = {"a directory": "dir", "not there": "no/file", "below a file": "file/below"}[taken]

    with pytest.raises(Misuse, match="cannot be written") as refused:
        write_durably(tmp_path / name, b"new")

    assert refused.value.exit_status == 2
    assert sorted(place.name for place in tmp_path.iterdir()) == ["dir", "file"]


@pytest.mark.fault(
    "Station's disk",
    "full while a file of the station is replaced (record, PINs, count of wrong PINs, ...)",
    comes="DiskFailed, status 8, with the file and its disk; the file is as it was before",
    then="make room, then run the same again",
)
def test_a_disk_that_fills_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        write_durably(disk / "pins.toml", b"old" * 100)
        fill(disk, leave=4096)

        with pytest.raises(DiskFailed, match=rf"No space left .*mounted at {disk}") as full:
            write_durably(disk / "pins.toml", bytes(32 << 10))

        assert (disk / "pins.toml").read_bytes() == b"old" * 100
        assert {place.name for place in disk.iterdir()} == {".ballast", "pins.toml"}
    assert full.value.exit_status == 8


@pytest.mark.fault(
    "Station's disk",
    "read-only, as a disk becomes after an I/O error",
    comes="DiskFailed, status 8, with the file and its disk",
    then="look at dmesg; run the same again when it can be written",
)
def test_a_read_only_disk_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        write_durably(disk / "file", b"old")
        with read_only(disk):
            with pytest.raises(DiskFailed, match=rf"Read-only.*mounted at {disk}"):
                write_durably(disk / "file", b"new")
            with pytest.raises(DiskFailed, match="cannot be made a directory: Read-only"):
                private_directory(disk / "new")

            assert read_bounded(disk / "file", 10) == b"old"


def test_a_quota_or_limit_of_file_size_is_told_as_a_full_disk(tmp_path: Path) -> None:
    with files_of_at_most(100), pytest.raises(DiskFailed, match="File too large"):
        write_durably(tmp_path / "file", bytes(200))

    assert list(tmp_path.iterdir()) == []


def test_a_pipe_or_device_is_written_to_and_no_file_takes_its_place(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    try:
        write_durably(pipe, b"a chain")

        assert os.read(reader, 100) == b"a chain"
        assert pipe.is_fifo()
    finally:
        os.close(reader)


def test_a_directory_in_the_files_place_stays_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()

    with pytest.raises(Misuse, match=r"taken cannot be written: Is a directory"):
        write_durably(tmp_path / "taken", b"a chain")

    assert list(tmp_path.iterdir()) == [tmp_path / "taken"]
