"""Warming a box up before its state is saved: what every session needs is read from disk once.

A restored box starts with the template's page cache. Without this every first login after a restore
reads sshd, its libraries and a shell from the emulated disk again: 0.2 s of host CPU each time.
Nothing of the login stays on the disk, and no process of it is left when the state is saved.
"""

from __future__ import annotations

import tenacity

from emulator.box_store import Box
from emulator.life import Life
from harness.deadline import Deadline
from harness.history import History
from harness.holding import Endpoint
from harness.ssh import SshShell
from harness.target import Layout
from harness.vitals import Vitals

_LOOK_SECONDS = 0.02
_READ = 'cat "$@" >/dev/null 2>&1; true'


def warm_up(box: Box, life: Life, vitals: Vitals, *, by: Deadline) -> None:
    """Log in, read what sessions read, log out, and wait until the box has hung up."""
    layout = Layout()
    endpoint = Endpoint("127.0.0.1", life.ssh_port, box.host_key, client_key=box.client_key)
    shell = SshShell(lambda: endpoint, vitals, History())
    try:
        often = ("/usr/lib/openssh/sftp-server", layout.p11_kit, layout.pkcs11_module)
        shell.run("sh", "-c", _READ, "sh", *often, by=by)
        shell.read("/etc/hostname", by=by)
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
