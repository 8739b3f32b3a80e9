"""``trustbox attest`` and ``appraise`` as they are typed, of one box: their answers and ends."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.target import Target
from provisioning.observe import bad_ta, looking
from provisioning.policies import DEFAULT
from provisioning.trustbox import TrustBox
from tests.device.enclaves import put, take_away
from tests.typed import Said, typed
from tests.unit.attested import evidence as evidence_of_another_box

pytestmark = [
    pytest.mark.integrity,
    pytest.mark.needs(
        Capability.AGENT, Capability.ATTESTATION, Capability.GOLDEN, Capability.TA_LOAD
    ),
]
NONCE = bytes(range(32)).hex()
Typing = Callable[..., Said]


@pytest.fixture
def policy(module_box: TrustBox, tmp_path: Path) -> Path:
    """The one that ships, with the golden measurement in it, as who appraises elsewhere has it; and
    without what no rig of this box can look at."""
    target, text = module_box.target, DEFAULT.read_text()
    assert target.firmware.golden_tee is not None
    golden = f'golden = "{target.firmware.golden_tee.hex()}"\n'
    if target.boot_seen is None:
        text = text.replace('require = ["boot-state"]\n', "")
    path = tmp_path / "policy.toml"
    path.write_text(golden + text)
    return path


@pytest.fixture
def attest(
    module_box: TrustBox,
    policy: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Typing:
    """``trustbox attest`` of this box, with more options; it is open already."""

    @contextmanager
    def already_open(*_: object, **__: object) -> Iterator[Target]:
        yield module_box.target

    monkeypatch.setattr("provisioning.cli.attest.opened", already_open)
    words = ("attest", "--target", module_box.target.name, "--policy", str(policy))
    return lambda *options: typed(monkeypatch, capsys, *words, *options)


@pytest.fixture
def foreign_pin(tmp_path: Path) -> Path:
    """What was kept of a box with another attestation key."""
    path = tmp_path / "foreign.json"
    path.write_text(json.dumps(evidence_of_another_box().to_dict()))
    return path


def kept(tmp_path: Path, attest: Typing) -> Path:
    """What --json says of the box now, for --pin."""
    said = attest("--json")
    assert said.status == 0, said.out + said.err
    path = tmp_path / "enrolled.json"
    path.write_text(said.out)
    return path


def refusals(said: Said) -> set[str]:
    """Checks that failed, and were not tolerated, in the JSON object that it printed."""
    return {
        name
        for name, one in json.loads(said.out)["verdict"]["checks"].items()
        if one["outcome"] == "fail" and not one["tolerated"]
    }


def tas(target: Target, by: Deadline) -> set[str]:
    return set(target.shell.run("ls", "-A", "--", target.layout.ta_directory, by=by).text.split())


def test_a_box_as_it_was_kept_is_good_by_exit_status_for_programs_and_people(
    module_box: TrustBox, attest: Typing, tmp_path: Path, by: Deadline
) -> None:
    before = tas(module_box.target, by)
    pin = kept(tmp_path, attest)

    for_people = attest("--pin", str(pin))

    assert json.loads(pin.read_text())["verdict"]["ok"] is True
    assert for_people.status == 0
    assert ": good (evidence level: " in for_people.out.splitlines()[-1]
    assert tas(module_box.target, by) == before


@pytest.mark.case("N-22", expect="trustbox attest refuses, exit status 7")
def test_a_box_with_another_key_than_the_pinned_one_is_refused_by_the_command(
    attest: Typing, foreign_pin: Path
) -> None:
    said = attest("--pin", str(foreign_pin), "--json")

    assert said.status == 7
    # Another box's TEE has another UUID, too; not every box tells it.
    assert {"key"} <= refusals(said) <= {"key", "tee-uuid"}


def test_a_token_of_it_is_appraised_elsewhere_and_a_changed_one_is_refused(
    module_box: TrustBox,
    attest: Typing,
    policy: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    token, key = tmp_path / "box.cwt", tmp_path / "station.pem"
    taken = attest("--nonce", NONCE, "--eat", str(token), "--eat-key", str(key), "--json")
    pin = tmp_path / "enrolled.json"
    pin.write_text(taken.out)
    level = module_box.target.evidence_level.value

    def appraise(nonce: str = NONCE) -> Said:
        words = ("--nonce", nonce, "--signer", f"{key}.pub", "--level", level, "--pin", str(pin))
        return typed(monkeypatch, capsys, "appraise", str(token), "--policy", str(policy), *words)

    good, replayed = appraise(), appraise(bytes(32).hex())
    data = token.read_bytes()
    token.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    changed = appraise()

    assert (taken.status, good.status) == (0, 0), good.out + good.err
    assert f"good (level {level})" in good.out
    assert (replayed.status, changed.status) == (7, 7)


@pytest.mark.parametrize("refused", [False, True], ids=["good", "refused"])
def test_watching_tells_each_look_and_ends_on_ctrl_c_with_the_last_one_s_status(
    module_box: TrustBox,
    attest: Typing,
    foreign_pin: Path,
    monkeypatch: pytest.MonkeyPatch,
    by: Deadline,
    refused: bool,
) -> None:
    before = tas(module_box.target, by)
    monkeypatch.setattr(sys.stdout, "write", interrupting(sys.stdout.write))

    said = attest("--watch", "1", "--json", *(("--pin", str(foreign_pin)) if refused else ()))

    look = json.loads(said.out)  # one, as it was interrupted after the first
    assert (said.status, look["verdict"]["ok"]) == ((7, False) if refused else (0, True))
    assert look["moved"] == []
    assert said.err == "stopped watching\n"
    assert tas(module_box.target, by) == before


def interrupting(write: Callable[[str], int]) -> Callable[[str], int]:
    """Ctrl-C once a line is out, from beside: while the next look is waited for."""

    def written(text: str) -> int:
        count = write(text)
        if text.endswith("\n"):
            threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()
        return count

    return written


def test_what_a_killed_look_left_is_cleared_by_the_next_and_nothing_else_is(
    module_box: TrustBox, attest: Typing, tmp_path: Path, by: Deadline
) -> None:
    target, pin = module_box.target, kept(tmp_path, attest)
    before, foreign = tas(target, by), uuid4()
    with looking(target, plant=True, by=by):
        (left,) = tas(target, by) - before
    put(target, UUID(left.removesuffix(".ta")), b"as much of it as was written", by)

    cleared = attest("--pin", str(pin), "--json")
    after = tas(target, by)
    put(target, foreign, bad_ta(foreign, 256), by)
    found = attest("--pin", str(pin), "--json")
    still = tas(target, by)
    take_away(target, foreign)

    assert (cleared.status, after) == (0, before), cleared.out + cleared.err
    assert (found.status, refusals(found)) == (7, {"ta-files"})
    assert still == before | {f"{foreign}.ta"}
