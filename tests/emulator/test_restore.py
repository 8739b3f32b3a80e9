"""Restoring: everything since delivery is gone, and nothing of the template is drawn twice."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from emulator.rig import EmulatorRig
from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import DeviceRefused, RigError, TrustBoxError
from harness.secret import Secret
from harness.target import Shell, World
from provisioning.trustbox import TrustBox

ROUNDS = 3
PIN = Secret(b"user-pin-1234")


def _kernel_randomness(box: TrustBox, by: Deadline) -> bytes:
    return box.target.shell.run("head", "-c", "32", "/dev/urandom", by=by).stdout


def _tee_randomness(box: TrustBox, by: Deadline) -> bytes:
    module = box.target.layout.pkcs11_module
    return box.target.shell.run(
        "pkcs11-tool", "--module", module, "--slot-index", "0", "--generate-random", "32", by=by
    ).stdout


def _tee_key(box: TrustBox, by: Deadline) -> bytes:
    with TrustBox(box.target) as fresh:
        fresh.keys.initialise("t", so_pin=Secret(b"so-pin-1234"), user_pin=PIN, by=by)
        fresh.keys.login("t", PIN, by=by)
        return fresh.keys.generate("device", by=by)[0].spki


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(_kernel_randomness, id="the kernel's randomness"),
        pytest.param(
            _tee_randomness, id="OP-TEE's randomness", marks=pytest.mark.needs(Capability.PKCS11)
        ),
        pytest.param(
            _tee_key,
            id="a key made in OP-TEE",
            marks=pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE),
        ),
    ],
)
def test_restores_of_one_state_draw_different_bytes(
    box: TrustBox, rig: EmulatorRig, by: Deadline, draw: Callable[[TrustBox, Deadline], bytes]
) -> None:
    drawn = []
    for _ in range(ROUNDS):
        rig.restore(by=by)
        drawn.append(draw(box, by))

    assert all(len(one) >= 32 for one in drawn)
    assert len(set(drawn)) == ROUNDS


def test_cold_boots_draw_different_bytes_from_op_tee(
    box: TrustBox, rig: EmulatorRig, by: Deadline
) -> None:
    """OP-TEE seeds itself from the time since reset: alone that gave equal bytes in 6 of 20."""
    drawn = set()
    for _ in range(ROUNDS):
        rig.off()
        rig.on(by=by)
        drawn.add(_tee_randomness(box, by))

    assert len(drawn) == ROUNDS


def test_the_clock_is_right_after_a_restore(box: TrustBox, rig: EmulatorRig, by: Deadline) -> None:
    rig.restore(by=by)

    before = time.time()
    said = float(box.target.shell.run("date", "+%s.%N", by=by).text)
    assert before - 2 <= said <= time.time() + 2


def test_what_was_done_to_the_box_is_gone(box: TrustBox, rig: EmulatorRig, by: Deadline) -> None:
    shell = box.target.shell
    box.keys.initialise("t", so_pin=Secret(b"so-pin-1234"), user_pin=PIN, by=by)
    shell.write("/etc/trustbox/mark", b"here", by=by)
    shell.write("/run/mark", b"here", by=by)

    rig.restore(by=by)

    assert _unreadable(shell, "/etc/trustbox/mark", by)
    assert _unreadable(shell, "/run/mark", by)
    with TrustBox(box.target) as fresh:
        assert not any(token.initialised for token in fresh.keys.tokens(by=by))


def test_a_box_that_is_off_or_dead_comes_back(
    box: TrustBox, rig: EmulatorRig, by: Deadline
) -> None:
    rig.off()
    rig.restore(by=by)
    assert box.target.shell.run("echo", "off", by=by).text == "off"

    box.target.consoles[World.NORMAL].send(b"")
    with pytest.raises(TrustBoxError):
        box.target.shell.run("sh", "-c", "echo c >/proc/sysrq-trigger", by=by)
    rig.restore(by=by)
    assert box.target.shell.run("echo", "dead", by=by).text == "dead"


def test_a_restore_that_runs_out_of_time_leaves_the_box_off(
    box: TrustBox, rig: EmulatorRig, by: Deadline
) -> None:
    with pytest.raises(TrustBoxError):
        rig.restore(by=Deadline.after(0.001))

    assert rig.qemu_pid is None
    assert len(list(rig.directory.glob("disk*.qcow2"))) == 1  # the disk that the box had before
    with pytest.raises(RigError, match="is off"):
        box.target.shell.run("true", by=by)


def _unreadable(shell: Shell, path: str, by: Deadline) -> bool:
    with pytest.raises(DeviceRefused):
        shell.read(path, by=by)
    return True


@pytest.mark.needs(Capability.AGENT, Capability.ATTESTATION)
def test_the_attestation_key_was_made_before_delivery_and_is_the_box_s_own(
    box: TrustBox,
    rig: EmulatorRig,
    another_box: Callable[..., TrustBox],
) -> None:
    """As in a factory that has asked each box once: a restore does not change it."""
    by = Deadline.after(110)  # the other box may have to be saved first
    before = box.integrity.attest(os.urandom(32), by=by).key
    rig.restore(by=by)
    after = box.integrity.attest(os.urandom(32), by=by).key
    other = another_box().integrity.attest(os.urandom(32), by=by).key

    assert before == after != other
