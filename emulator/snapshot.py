"""Saving and loading a machine: device state in one file, RAM in another, never through a pipe.

With the capability ``x-ignore-shared`` QEMU leaves RAM that is a shared file out of the stream:
some 3 MB of device state are written, and a clone maps the same file copy-on-write. Both directions
use descriptors (``fd:``), which the sandbox allows and which is faster than a program between.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from emulator.qmp import Qmp
from harness.deadline import Deadline
from harness.errors import RigError

_CAPABILITIES = [
    {"capability": "x-ignore-shared", "state": True},
    {"capability": "events", "state": True},
]


def save(qmp: Qmp, state: Path, *, by: Deadline) -> None:
    """Stop the machine and write its device state. The machine stays stopped, its disk released.

    Its RAM must be a RamFile with ``share``. Raises RigError with QEMU's reason.
    """
    qmp.execute("migrate-set-capabilities", by=by, capabilities=_CAPABILITIES)
    # Downtime and bandwidth limits make sense between hosts; here they would only slow it down.
    qmp.execute("migrate-set-parameters", by=by, max_bandwidth=2**40)
    qmp.execute("stop", by=by)
    descriptor = os.open(state, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        qmp.execute("getfd", by=by, fds=[descriptor], fdname="state")
    finally:
        os.close(descriptor)
    qmp.execute("migrate", by=by, uri="fd:state")
    _finish(qmp, "saving", by)


def load(qmp: Qmp, state: Path, *, by: Deadline) -> None:
    """Load a saved state into a machine that was started with ``incoming``. It stays paused."""
    qmp.execute("migrate-set-capabilities", by=by, capabilities=_CAPABILITIES)
    descriptor = os.open(state, os.O_RDONLY | os.O_CLOEXEC)
    try:
        qmp.execute("getfd", by=by, fds=[descriptor], fdname="state")
    finally:
        os.close(descriptor)
    qmp.execute("migrate-incoming", by=by, uri="fd:state")
    _finish(qmp, "loading", by)


def _finish(qmp: Qmp, doing: str, by: Deadline) -> None:
    def final(data: dict[str, Any]) -> bool:
        return data.get("status") in {"completed", "failed", "cancelled"}

    event = qmp.event({"MIGRATION"}, by=by, accept=final)
    status = event["data"]["status"]
    if status != "completed":
        why = qmp.execute("query-migrate", by=by).get("error-desc", "QEMU gives no reason")
        raise RigError(f"{doing} the state of the machine {status}: {why}")
