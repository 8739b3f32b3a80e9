"""Warming a box up before its state is saved: what every session needs is there from the start.

A restored box starts with the template's page cache. Without this every first login after a restore
reads sshd, its libraries and a shell from the emulated disk again: 0.2 s of host CPU each time.
It starts with its attestation key, too, as a box does whose factory has asked it once: OP-TEE makes
that RSA key when it is first asked, which takes seconds of host CPU, and then keeps it.
Nothing else stays on the disk, and no process of this is left when the state is saved.
"""

from __future__ import annotations

import logging

import tenacity

from emulator.box_store import Box
from emulator.life import Life
from emulator.profiles import profile_named
from harness.agent_build import agent_name
from harness.deadline import Deadline
from harness.errors import BadFrame, BoxDied, DeviceRefused, Misuse, RigError
from harness.helpers import Helpers
from harness.history import History
from harness.holding import Endpoint
from harness.probe import ATTESTATION_PTA
from harness.ssh import SshShell
from harness.target import Layout
from harness.tee import Direction, Memref, Value, connect
from harness.vitals import Vitals

_LOOK_SECONDS = 0.02
_READ = 'cat "$@" >/dev/null 2>&1; true'
_GET_PUBKEY = 0
"""OP-TEE lib/libutee/include/pta_attestation.h"""
_LARGEST_KEY = 512


def warm_up(box: Box, life: Life, vitals: Vitals, *, by: Deadline) -> None:
    """Log in, read what sessions read, have the attestation key made, log out, and wait until the
    box has hung up."""
    layout = Layout()
    endpoint = Endpoint("127.0.0.1", life.ssh_port, box.host_key, client_key=box.client_key)
    shell = SshShell(lambda: endpoint, vitals, History())
    try:
        often = ("/usr/lib/openssh/sftp-server", layout.p11_kit, layout.pkcs11_module)
        shell.run("sh", "-c", _READ, "sh", *often, by=by)
        shell.read("/etc/hostname", by=by)
        if profile_named(box.image.profile).optee.get("CFG_ATTESTATION_PTA") == "y":
            _first_attestation(box, shell, layout, vitals, by=by)
    finally:
        shell.close()
    waiting_for = "the box to end the first session"
    for attempt in tenacity.Retrying(
        wait=tenacity.wait_fixed(_LOOK_SECONDS),
        retry=tenacity.retry_if_result(lambda connections: connections > 0),
        stop=lambda state: by.left(waiting_for) <= 0,
    ):
        with attempt:
            connections = life.qmp.ssh_connections(by=by)
        attempt.retry_state.set_result(connections)


def _first_attestation(
    box: Box, shell: SshShell, layout: Layout, vitals: Vitals, *, by: Deadline
) -> None:
    """Ask for the attestation key. A machine that has no helper for the box does without: the box
    makes its key when somebody else asks."""
    helpers = Helpers(shell, layout, vitals)
    try:
        with (
            connect(helpers.held(by=by), History(), box.serial) as client,
            client.open_session(ATTESTATION_PTA, by=by) as session,
        ):
            exponent, modulus = Memref(8, Direction.OUT), Memref(_LARGEST_KEY, Direction.OUT)
            algorithm = Value(0, 0, Direction.OUT)
            made = session.invoke(_GET_PUBKEY, exponent, modulus, algorithm, by=by)
            made.check(f"having {box.serial} make its attestation key")
    except BoxDied:
        raise
    except (DeviceRefused, Misuse, RigError, BadFrame) as problem:
        log = logging.getLogger(f"emulator.warm_up.{box.serial}")
        log.warning("its delivered state has no attestation key: %s", problem.message)
    finally:
        helpers.close()
    # What is delivered has no program of ours.
    shell.run("rm", "-f", "--", f"{layout.agent_directory}/{agent_name()}", by=by)
