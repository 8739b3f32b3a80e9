"""The station's key: made once, put on the box beside those of others, in files of its user."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.adopt import adopt
from harness.adopt_key import ensure_key
from harness.console_login import ConsoleLogin
from harness.deadline import Deadline
from harness.errors import DeviceRefused, Misuse
from tests.links.adopt_lab import Lab, a_lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with a_lab(tmp_path, monkeypatch) as made:
        yield made


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


def test_a_station_s_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "config/bench_key"

    line = ensure_key(path)

    assert ensure_key(path) == line
    assert path.stat().st_mode & 0o777 == 0o600
    assert line.startswith("ssh-ed25519 ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of another user")
def test_the_key_of_another_user_than_root_is_in_files_of_that_user(lab: Lab, by: Deadline) -> None:
    adopt(replace(lab.wish(), user="daemon"), ConsoleLogin(), lab.file, by=by)

    user = pwd.getpwnam("daemon")
    for made in (lab.keys, lab.keys.parent):
        assert (made.stat().st_uid, made.stat().st_gid) == (user.pw_uid, user.pw_gid)


def test_a_user_that_the_box_does_not_have_gets_no_key(lab: Lab, by: Deadline) -> None:
    with pytest.raises(DeviceRefused, match="the box has no user nobody-here"):
        adopt(replace(lab.wish(), user="nobody-here"), ConsoleLogin(), lab.file, by=by)

    assert not lab.keys.exists()


def test_a_key_of_any_type_is_put_there_and_only_once(lab: Lab, by: Deadline) -> None:
    """One of a type that no host key is pinned with."""
    wish = replace(lab.wish(), client_key=lab.directory / "p521")
    wish.client_key.write_bytes(
        ec.generate_private_key(ec.SECP521R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    )
    lab.keys.parent.mkdir()
    lab.keys.write_text("# somebody's\n")
    added = [adopt(wish, ConsoleLogin(), lab.file, replace=True, by=by).key_added for _ in range(2)]

    assert added == [True, False]
    assert lab.keys.read_text().count("ecdsa-sha2-nistp521 ") == 1


def test_a_file_that_is_no_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("hello")

    with pytest.raises(Misuse, match="is no OpenSSH private key"):
        ensure_key(path)
    assert path.read_text() == "hello"


def test_a_key_that_is_there_is_not_put_there_twice_and_others_stay(lab: Lab, by: Deadline) -> None:
    lab.keys.parent.mkdir(mode=0o755)
    lab.keys.write_text("# somebody's\nssh-ed25519 AAAA other@station")  # without a line end
    adopt(lab.wish(), ConsoleLogin(), lab.file, by=by)
    once = lab.keys.read_text()

    done = adopt(lab.wish(), ConsoleLogin(), lab.file, replace=True, by=by)

    assert not done.key_added
    assert lab.keys.read_text() == once
    assert once.splitlines()[:2] == ["# somebody's", "ssh-ed25519 AAAA other@station"]
    assert len(once.splitlines()) == 3
