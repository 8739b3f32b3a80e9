"""Does a box answer, and in which of its lives? A bench's own questions, apart from sessions."""

from __future__ import annotations

import re
import threading
import time

import tenacity

from harness.connecting import NoAddressInTime, connected
from harness.deadline import Deadline
from harness.errors import (
    DeadlineExpired,
    DeviceRefused,
    LinkLost,
    NetworkFailed,
    Unasked,
    Unreachable,
)
from harness.history import History
from harness.holding import Endpoint
from harness.ssh import SshShell
from harness.vitals import Vitals

BANNER_SECONDS = 2.0
_NOBODY_SECONDS = 3.0
_SURE_SECONDS = 1.0
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def answers(endpoint: Endpoint, *, seconds: float = BANNER_SECONDS) -> bool:
    """Whether an SSH server greets there within ``seconds`` (RFC 4253 4.2); trusts nobody.

    A port forwarder that takes connections for a box that is off does not count. Raises
    NetworkFailed when this machine could not ask.
    """
    by = Deadline.after(seconds)
    try:
        with connected(endpoint.host, endpoint.port, by=by) as greeted:
            heard = b""
            while b"SSH-" not in heard and len(heard) < 4096 and not by.expired:
                greeted.settimeout(by.left("the SSH greeting"))
                more = greeted.recv(256)
                if not more:
                    return False
                heard += more
            return b"SSH-" in heard
    except (Unasked, NoAddressInTime) as problem:
        where = f"{endpoint.host}:{endpoint.port}"
        raise NetworkFailed(where, problem.message) from problem
    except (OSError, Unreachable, DeadlineExpired):
        return False


def nobody_listens(endpoint: Endpoint, *, by: Deadline) -> bool:
    """Whether the network says that there is nobody, or that the box cannot be reached.

    Asked twice as far as time allows, because a server that is restarted refuses for a moment.
    Silence is no answer, nor is what kept this machine from asking (a name server, its own cable,
    too many open files): False. Takes 7 s at most.
    """
    if not _refused(endpoint, by):
        return False
    if not by.expired:
        threading.Event().wait(min(_SURE_SECONDS, max(0.0, by.at - time.monotonic()) / 2))
    return by.expired or _refused(endpoint, by)


def _refused(endpoint: Endpoint, by: Deadline) -> bool:
    try:
        connected(endpoint.host, endpoint.port, by=by.sooner(_NOBODY_SECONDS)).close()
    except (Unasked, DeadlineExpired):
        return False
    except Unreachable:
        return True
    return False


def boot_id(endpoint: Endpoint, vitals: Vitals, *, by: Deadline) -> str:
    """Log in and ask for the kernel's boot id (proc_sys_kernel(5)): another one is another boot.

    Waits for a box that still boots. Raises as ``ssh_transport.connect``: BoxDied when a console
    shows a panic meanwhile; DeviceRefused when what comes back is no boot id.
    """
    ssh = SshShell(lambda: endpoint, vitals, History())
    try:
        for attempt in tenacity.Retrying(
            stop=lambda state: by.expired,
            wait=tenacity.wait_fixed(0.2),
            retry=tenacity.retry_if_exception_type(LinkLost),
            reraise=True,
        ):
            with attempt:
                told = ssh.run("cat", _BOOT_ID, by=by).text
        if not _UUID.fullmatch(told):
            raise DeviceRefused(f"{endpoint.host} shows no boot id in {_BOOT_ID}")
        return told
    finally:
        ssh.close()
