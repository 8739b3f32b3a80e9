"""Starting and stopping keepers: processes of their own, which outlive the command."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from emulator import registry
from emulator.box_store import open_box
from emulator.build import ensure_image
from emulator.orders import Orders
from emulator.profiles import CURRENT
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, RigError

_LONGEST_REPORT = 64 * 1024


def start(
    serial: str,
    *,
    seconds: float,
    profile: str = CURRENT.name,
    as_bench: bool = False,
    autoboot_seconds: int | None = None,
    progress: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Start a keeper and wait until its box is on; what the keeper says about it.

    ``seconds`` bounds the start, not a build of the image that comes before it. ``as_bench``: see
    ``emulator.bench``. Raises RigError with the keeper's own words when it cannot hold the box;
    then no keeper runs.
    """
    image = ensure_image(profile, archive=None, progress=progress)
    orders = Orders(serial, seconds, profile, as_bench, autoboot_seconds)
    by = Deadline.after(seconds)
    log = open_box(serial, image, by=by).directory / "keeper.log"
    ours, theirs = os.pipe()
    with os.fdopen(ours, "rb", buffering=0) as reports:
        try:
            process = _spawn(orders, theirs, log)
        finally:
            os.close(theirs)
        try:
            return _first_answer(_lines(reports.fileno(), by), log, progress)
        except BaseException:
            process.terminate()
            process.wait(10)
            raise
        finally:
            # It outlives us on purpose: not to be waited for, not to be complained about.
            process.returncode = process.returncode or 0


def stop(serial: str, *, by: Deadline) -> None:
    """Ask the keeper to end and wait until it has. RigError when nobody keeps the box."""
    pid = registry.ask(serial, "info", by=by)["keeper_pid"]
    try:
        keeper = os.pidfd_open(int(pid))
    except ProcessLookupError:
        return
    try:
        registry.ask(serial, "stop", by=by)
        waiting_for = f"the keeper of {serial} to end"
        while not select.select([keeper], [], [], by.left(waiting_for))[0]:
            pass
    finally:
        os.close(keeper)


def _spawn(orders: Orders, report_fd: int, log: Path) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "emulator.keeper", orders.text(), str(report_fd)]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            pass_fds=(report_fd,),
            start_new_session=True,
            cwd=Path(__file__).parents[1],
        )
    finally:
        os.close(descriptor)


def _first_answer(
    lines: Iterator[bytes], log: Path, progress: Callable[[str], None]
) -> dict[str, Any]:
    for line in lines:
        message = json.loads(line)
        if "ready" in message:
            ready: dict[str, Any] = message["ready"]
            return ready
        if "error" in message:
            raise RigError(message["error"], hint=message.get("hint", ""))
        progress(str(message.get("progress", "")))
    raise RigError("the keeper ended before its box was on", hint=f"Its output is in {log}.")


def _lines(descriptor: int, by: Deadline) -> Iterator[bytes]:
    waiting_for, buffer = "the box to be kept running", b""
    while len(buffer) < _LONGEST_REPORT:
        if not select.select([descriptor], [], [], by.left(waiting_for))[0]:
            raise DeadlineExpired(waiting_for, by.seconds)
        data = os.read(descriptor, 4096)
        if not data:
            return
        *lines, buffer = (buffer + data).split(b"\n")
        yield from lines
