"""Two tokens of one label: a serial number says which one is wiped. SoftHSM2 has them, over SSH."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DeviceRefused
from harness.secret import Secret
from provisioning.keys import KeySession
from provisioning.softhsm import softhsm_module
from provisioning.token import Token
from provisioning.token_process import TokenProcess
from tests.links.host_box import host_box
from tests.links.sshd import LocalSshd

LABEL, SO, USER = "twice", Secret(b"so-pin-55120"), Secret(b"user-pin-71236")


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture
def keys(sshd: LocalSshd, tmp_path: Path, by: Deadline) -> Iterator[KeySession]:
    with host_box(sshd, tmp_path) as box:
        for _ in range(2):
            made(box.place / "softhsm2.conf", by)
        with closing(KeySession(replace(box.target, lasting=True))) as opened:
            yield opened


def made(configuration: Path, by: Deadline) -> None:
    """One more token of the label; ``initialise`` would refuse to make a second one."""
    process = TokenProcess(softhsm_module(), environment={"SOFTHSM2_CONF": str(configuration)})
    with closing(Token(process)) as token:
        blank = next(one for one in token.slots(by=by) if not one.initialised)
        before = {one.serial for one in token.slots(by=by)}
        process.call(
            "init_token", doing="labelling", by=by,
            slot=blank.slot, label=LABEL, so_pin=SO.reveal(),
        )  # fmt: skip
        [new] = [s.serial for s in token.slots(by=by) if s.initialised and s.serial not in before]
        token.initialise(LABEL, so_pin=SO, user_pin=USER, serial=new, by=by)


def serials(keys: KeySession, by: Deadline) -> list[str]:
    return sorted(one.serial for one in keys.tokens(by=by) if one.initialised)


def test_named_one_of_two_tokens_is_wiped_and_the_other_keeps_its_key(
    keys: KeySession, by: Deadline
) -> None:
    mine, other = serials(keys, by)
    for serial in (mine, other):
        keys.login(LABEL, USER, serial=serial, by=by)
        keys.generate("device", by=by)

    state = keys.wipe(LABEL, so_pin=SO, user_pin=USER, serial=mine, by=by)

    assert (state.serial, state.has_user_pin) == (mine, True)
    keys.login(LABEL, USER, serial=mine, by=by)
    assert keys.find("device", by=by) is None
    keys.login(LABEL, USER, serial=other, by=by)
    assert keys.find("device", by=by) is not None


def test_neither_of_two_tokens_is_wiped_when_none_is_named(keys: KeySession, by: Deadline) -> None:
    mine = serials(keys, by)[0]
    keys.login(LABEL, USER, serial=mine, by=by)
    keys.generate("device", by=by)

    with pytest.raises(DeviceRefused, match="2 tokens are labelled twice"):
        keys.wipe(LABEL, so_pin=SO, user_pin=USER, by=by)

    keys.login(LABEL, USER, serial=mine, by=by)
    assert keys.find("device", by=by) is not None
