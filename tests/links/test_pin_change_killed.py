"""A change of PINs, killed at each of its writes: the same again finishes it, no PIN is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from harness.deadline import Deadline
from provisioning.pin_change import is_pending
from provisioning.pins import Pins
from provisioning.softhsm import softhsm_module, softhsm_token
from provisioning.token import Token
from provisioning.token_process import TokenProcess

LABEL = "under-test"
PROGRAM = """
import os, pathlib, sys
from contextlib import closing
from harness.deadline import Deadline
from provisioning.pin_budget import PinBudget
from provisioning.pin_change import change_kept_pins
from provisioning.softhsm import softhsm_module
from provisioning.token import Token
from provisioning.token_process import TokenProcess

place, role, last = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
written, fsync = [], os.fsync

def dying(file):
    written.append(file)
    if len(written) == last:
        os._exit(9)
    fsync(file)

os.fsync = dying
by = Deadline.after(60)
with closing(Token(TokenProcess(softhsm_module(), environment=dict(os.environ)))) as token:
    token.budget = PinBudget(place / "budget")
    state = token.labelled("under-test", by=by)
    change_kept_pins(token, state, place / "pins.toml", (role,), by=by)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.fault(
    "Secrets",
    "a change of the PINs that the station keeps is killed at any of its writes",
    comes="nothing is lost: the PIN that the token has is in one of the two files",
    then="trustbox keys pin change finishes it; until then no PIN is tried",
)
def test_a_change_that_is_killed_at_any_write_is_finished_by_the_same_again(
    tmp_path: Path, by: Deadline
) -> None:
    softhsm_token(tmp_path, LABEL, by=by).close()
    environment = {**os.environ, "SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf")}

    def change(dies_at: int) -> int:
        argv = [sys.executable, "-c", PROGRAM, str(tmp_path), "user", str(dies_at)]
        return subprocess.run(argv, env=environment, check=False, timeout=60).returncode

    points, pending = 0, set()
    for at in count(1):
        before = Pins.read(tmp_path / "pins.toml")
        ended = change(at)
        if ended == 0:
            break
        assert ended == 9
        points += 1
        pending.add(is_pending(tmp_path / "pins.toml"))
        assert change(0) == 0
        now = Pins.read(tmp_path / "pins.toml")
        assert not is_pending(tmp_path / "pins.toml")
        assert (now.user != before.user, now.so != before.so) == (True, False)
    made, by = Pins.read(tmp_path / "pins.toml"), Deadline.after(60)
    with closing(Token(TokenProcess(softhsm_module(), environment=environment))) as token:
        token.login(LABEL, made.user, by=by)

    assert pending == {True, False}
    assert points >= 8
