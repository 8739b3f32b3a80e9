"""Root runs nothing on the box that another user could have put there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.agent_build import agent_for, agent_name
from harness.agent_shell import AgentShell
from harness.box_directory import UNSAFE_STATUS, guard, why_unsafe
from harness.config import parse
from harness.deadline import Deadline
from harness.errors import BadInput, CommandFailed, DeviceRefused
from harness.history import History
from harness.ssh import SshShell
from harness.target import Layout
from harness.vitals import Vitals
from provisioning.http_place import BoxPlace
from tests.links.faulty_line import Box

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
SOMEBODY = 65534
SHELLS = [name for name in ("dash", "bash") if shutil.which(name)]


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """Is there once a planted program was run."""
    return tmp_path / "ran"


def planted(place: Path, ran: Path, owner: int = SOMEBODY) -> Path:
    """What another user of the box put in the helper's place: it runs, and is found out here."""
    place.write_text(f"#!/bin/sh\n: >{ran}\n")
    place.chmod(0o755)
    os.chown(place, owner, -1)
    return place


def directory(tmp_path: Path, how: str) -> Path:
    """One that others can change, or put another one in the place of."""
    made = tmp_path / "above" / "helper"
    made.mkdir(parents=True)
    match how:
        case "everybody may write to it":
            made.chmod(0o777)
        case "it has the sticky bit":
            made.chmod(0o1777)
        case "it is a user's":
            os.chown(made, SOMEBODY, -1)
        case "its group may write to it":
            os.chown(made, 0, SOMEBODY)
            made.chmod(0o775)
        case "the one above is a user's":
            os.chown(made.parent, SOMEBODY, -1)
        case "everybody may write to the one above":
            made.parent.chmod(0o777)
        case "it is a link to such a one":
            made.chmod(0o777)
            (tmp_path / "link").symlink_to(made)
            return tmp_path / "link"
    return made


UNSAFE = [
    "everybody may write to it",
    "it has the sticky bit",
    "everybody may write to the one above",
    "it is a link to such a one",
    *(
        pytest.param(how, marks=ROOT)
        for how in ("it is a user's", "its group may write to it", "the one above is a user's")
    ),
]


def asked(shell: str, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [shell, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("how", UNSAFE)
def test_a_place_that_others_can_change_is_told(tmp_path: Path, how: str, shell: str) -> None:
    place = directory(tmp_path, how)
    done = asked(shell, guard(str(place)) + "echo went on")

    assert (done.returncode, done.stdout) == (UNSAFE_STATUS, "")
    assert f", so root runs nothing from {place} on the box" in done.stderr
    assert len(asked(shell, why_unsafe(str(place))).stdout.splitlines()) == 1


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", ["plain", "with 'blank", "$(x)"])
def test_a_place_of_root_s_below_a_sticky_one_is_good(
    tmp_path: Path, name: str, shell: str
) -> None:
    tmp_path.chmod(0o1777)
    (tmp_path / name).mkdir(mode=0o755)
    done = asked(shell, guard(str(tmp_path / name)) + "echo went on")

    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


@pytest.mark.fault(
    "Box",
    "layout.agent_directory on the box, or one above it, can be written by other users there",
    comes="nothing in it is run as root: commands go over plain SSH, and the log says why",
    then="name a directory that only root can write to",
)
@pytest.mark.parametrize("how", UNSAFE[:1])
def test_a_planted_helper_is_not_run_from_a_place_that_others_can_change(
    ssh: SshShell, vitals: Vitals, history: History, tmp_path: Path, ran: Path, by: Deadline,
    how: str,
) -> None:  # fmt: skip
    place = directory(tmp_path, how)
    planted(place / agent_name(), ran, os.geteuid())
    shell = AgentShell(ssh, Layout(agent_directory=str(place)), vitals, history)

    assert shell.run("echo", "one", by=by).text == "one"
    assert "everybody may write to" in shell.why_not
    assert not ran.exists()


@pytest.mark.parametrize("what", [pytest.param("a user's file", marks=ROOT), "a link"])
def test_what_is_not_ours_is_replaced_and_not_run_nor_followed(
    ssh: SshShell, vitals: Vitals, history: History, tmp_path: Path, ran: Path, by: Deadline,
    what: str,
) -> None:  # fmt: skip
    """Left from a time when the place was open, say."""
    place = tmp_path / "helper"
    place.mkdir()
    ours = place / agent_name()
    victim = planted(tmp_path / "victim", ran, os.geteuid())
    kept = victim.read_bytes()
    if what == "a link":
        ours.symlink_to(victim)
    else:
        planted(ours, ran)
    shell = AgentShell(ssh, Layout(agent_directory=str(place)), vitals, history)

    assert shell.run("echo", "one", by=by).text == "one"
    assert shell.why_not == ""
    assert not ran.exists()
    assert victim.read_bytes() == kept
    assert not ours.is_symlink()
    assert ours.read_bytes() == agent_for(os.uname().machine).read_bytes()
    shell.close()


def test_no_pin_is_handed_over_in_a_place_that_others_can_change(
    ssh: SshShell, tmp_path: Path, by: Deadline
) -> None:
    place = directory(tmp_path, "everybody may write to it")
    with pytest.raises(CommandFailed, match="so root runs nothing from"):
        BoxPlace(ssh, ssh, below=str(place), by=by)

    assert list(place.iterdir()) == []


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    place = tmp_path / "box"
    place.mkdir()
    made = Box(("dash", "-i"), place).on()
    yield made
    made.off()


def test_a_planted_helper_is_not_run_over_the_console(box: Box, ran: Path, by: Deadline) -> None:
    box.directory.chmod(0o777)
    planted(box.directory / agent_name(), ran, os.geteuid())
    shell = box.shell()

    with pytest.raises(DeviceRefused, match="so root runs nothing from"):
        shell.run("echo", "one", by=by)
    assert not ran.exists()
    shell.close()


def test_a_planted_link_is_not_run_over_the_console(box: Box, ran: Path, by: Deadline) -> None:
    victim = planted(box.directory / "victim", ran, os.geteuid())
    kept = victim.read_bytes()
    for name in (agent_name(), f"{agent_name()}.new"):
        (box.directory / name).symlink_to(victim)
    shell = box.shell()

    assert shell.run("echo", "one", by=by).text == "one"
    assert not ran.exists()
    assert victim.read_bytes() == kept
    shell.close()


@pytest.mark.parametrize("place", ["/tmp", "/var/tmp/", "/dev/shm", "/run/../tmp"])
def test_everybody_s_directories_are_refused_in_the_entry(place: str) -> None:
    entry = (
        '[b]\nkind = "bench"\naddress = "192.0.2.7"\nclient_key = "k"\nserial_url = "/dev/tty"\n'
        'host_key = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTY="\n'
    )
    with pytest.raises(BadInput, match="only root can write to") as caught:
        parse(f'{entry}layout = {{ agent_directory = "{place}" }}\n', "lab.toml")

    assert caught.value.key == "b.layout.agent_directory"
