"""What is run, loaded or believed on this machine nobody else may change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.agent_build import agent_for
from harness.errors import Misuse, RigError
from harness.owned import distrust
from provisioning.authority_tokens import check_module

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
SOMEBODY = 65534


def made(path: Path, mode: int, owner: int = -1, group: int = -1, *, folder: bool = False) -> Path:
    path.mkdir() if folder else path.touch()
    os.chown(path, owner, group)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("mode", "owner", "group", "why"),
    [
        (0o600, -1, -1, ""),
        (0o755, -1, -1, ""),
        (0o664, -1, -1, ""),
        (0o646, -1, -1, "everybody"),
        pytest.param(0o664, -1, SOMEBODY, "group", marks=ROOT),
        pytest.param(0o644, SOMEBODY, -1, "user 65534's", marks=ROOT),
    ],
)
def test_a_file_is_believed_by_owner_and_mode(
    tmp_path: Path, mode: int, owner: int, group: int, why: str
) -> None:
    found = distrust(made(tmp_path / "file", mode, owner, group).stat())

    assert why in found
    assert bool(why) == bool(found)


@pytest.mark.fault(
    "Files",
    "a PKCS#11 module that other users may write to",
    comes="Misuse, status 2, naming it and why; it is not loaded and gets no PIN",
    then="see who changed it, install it again, chmod go-w",
)
def test_a_module_that_others_may_write_to_gets_no_pin(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match=r"the PKCS#11 module .*m\.so is not loaded: everybody may"):
        check_module(made(tmp_path / "m.so", 0o666))


def test_a_helper_that_others_may_have_put_there_is_not_taken_to_a_box(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    agent = agent_for(os.uname().machine)
    assert agent.is_relative_to(tmp_path)

    agent.chmod(0o757)
    with pytest.raises(RigError, match="the helper is not taken from"):
        agent_for(os.uname().machine)
    agent.chmod(0o755)
    agent.parent.chmod(0o777)
    with pytest.raises(RigError, match="the helper is not taken from"):
        agent_for(os.uname().machine)
