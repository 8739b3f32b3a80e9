"""The first program of a module with an enclave, as compiled code under a PID namespace of its own,
where every process number is 1: it starts again after a power cut, and leaves nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provisioning.enclave_start import SOURCE
from tests.small_disk import fill, small_disk

NAME = "5ed9b4b1-8b4d-4f4e-9c1e-000000000001.ta"
ENCLAVE = bytes(range(256)) * 4096  # more than a pipe holds


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("start") / "start"
    flags = ("-std=c11", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror")
    subprocess.run(["gcc", *flags, "-o", str(made), str(SOURCE)], check=True, timeout=60)
    return made


@pytest.fixture(scope="module")
def contained() -> tuple[str, ...]:
    """What runs a program as process 1 of its own, and ends it when it is ended itself."""
    why = ""
    for how in (("-pf",), ("-rpf",)):
        words = ("unshare", *how, "--kill-child=KILL")
        argv = [*words, "sh", "-c", "test $$ = 1"]
        done = subprocess.run(argv, check=False, timeout=20, capture_output=True, text=True)
        if done.returncode == 0:
            return words
        why = done.stderr.strip()
    pytest.skip(f"no PID namespace can be made here: {why}")


Started = Callable[[Path], "subprocess.Popen[bytes]"]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "tas"
    made.mkdir()
    return made


@pytest.fixture
def started(program: Path, contained: tuple[str, ...], directory: Path) -> Iterator[Started]:
    """Starts a module whose application says that it runs."""
    running: list[subprocess.Popen[bytes]] = []

    def start(enclave: Path) -> subprocess.Popen[bytes]:
        argv = [*contained, str(program), str(enclave), str(directory), "/bin/echo", "running"]
        running.append(
            subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        )
        return running[-1]

    yield start
    for one in running:
        one.kill()
        one.communicate(timeout=20)


def a_file(tmp_path: Path) -> Path:
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / NAME).write_bytes(ENCLAVE)
    return tmp_path / "image" / NAME


def a_slow_file(tmp_path: Path) -> Path:
    """A pipe: whoever reads it is in mid-copy for as long as nobody writes the rest."""
    (tmp_path / "slow").mkdir()
    os.mkfifo(tmp_path / "slow" / NAME)
    return tmp_path / "slow" / NAME


def runs(module: subprocess.Popen[bytes]) -> bool:
    out, err = module.communicate(timeout=30)
    assert err == b""
    return (module.returncode, out) == (0, b"running\n")


def begin_to_copy(slow: Path) -> int:
    """The pipe's end to write; more was taken from it than a pipe holds, so a part is there."""
    end = os.open(slow, os.O_WRONLY)
    os.write(end, ENCLAVE[: len(ENCLAVE) // 2])
    return end


@pytest.mark.fault(
    "Box",
    "the power ends while an IoT Edge module puts its enclave in place",
    comes="a part of the file beside it; the next start of the module removes it and goes on",
    then="nothing",
)
def test_a_module_starts_again_after_a_cut_in_mid_copy_and_leaves_nothing(
    started: Started, directory: Path, tmp_path: Path
) -> None:
    cut = started(slow := a_slow_file(tmp_path))
    end = begin_to_copy(slow)
    [part] = [place.name for place in directory.iterdir()]
    cut.kill()
    with pytest.raises(BrokenPipeError):  # its reader is no more
        while True:
            os.write(end, ENCLAVE)
    os.close(end)

    again = started(a_file(tmp_path))

    assert runs(again)
    assert part != NAME
    assert [place.name for place in directory.iterdir()] == [NAME]
    assert (directory / NAME).read_bytes() == ENCLAVE
    assert (directory / NAME).stat().st_mode & 0o777 == 0o444


def test_a_part_that_the_version_before_left_goes_and_what_is_somebodys_stays(
    started: Started, directory: Path, tmp_path: Path
) -> None:
    theirs = {f"{NAME}.backup", f"{NAME}.part-notes-1", "notes.1", f"{NAME[::-1]}.part-abcdef"}
    for name in (f"{NAME}.1", f"{NAME}.part-A1b2C3", *theirs):
        (directory / name).write_bytes(b"x")

    assert runs(started(a_file(tmp_path)))

    assert {place.name for place in directory.iterdir()} == {NAME, *theirs}


def test_two_that_start_at_once_do_not_take_each_others_part_away(
    started: Started, directory: Path, tmp_path: Path
) -> None:
    first = started(slow := a_slow_file(tmp_path))
    end = begin_to_copy(slow)

    assert runs(started(a_file(tmp_path)))
    assert len(list(directory.iterdir())) == 2  # the first one's part is still there

    os.write(end, ENCLAVE[len(ENCLAVE) // 2 :])
    os.close(end)
    assert runs(first)
    assert [place.name for place in directory.iterdir()] == [NAME]
    assert (directory / NAME).read_bytes() == ENCLAVE


def test_a_full_disk_is_told_and_leaves_the_enclave_that_was_there(
    program: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        (disk / NAME).write_bytes(b"old")
        fill(disk, leave=8192)
        argv = [str(program), str(a_file(tmp_path)), str(disk), "/bin/echo", "running"]

        ended = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)

        assert (ended.returncode, ended.stdout) == (1, "")
        assert "No space left" in ended.stderr
        assert {place.name for place in disk.iterdir()} == {NAME, ".ballast"}
        assert (disk / NAME).read_bytes() == b"old"
