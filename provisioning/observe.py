"""Looking at a box besides its TEE's measurements: what ``Observed`` holds, and how it is seen."""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import UUID, uuid4

from harness.boot_registers import read_in_linux
from harness.boot_seen import BootSeen, of_registers
from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import DeviceRefused, TeeRefused
from harness.panics import DEFAULT_PANICS
from harness.recording import printable
from harness.target import Target, World
from harness.tee import TeeClient
from provisioning.enclave_format import MAGIC
from provisioning.observe_script import read_normal_world
from provisioning.observed import LogSeen, Observed, TeeAnswer
from provisioning.sample_enclave import COUNTER_READ
from provisioning.tee_answers import value

MOST_QUOTED = 5
_LONGEST_QUOTE = 200
_REMOVING_SECONDS = 30.0
_BAD = (
    *(re.compile(pattern.pattern.decode()) for pattern in DEFAULT_PANICS),
    # OP-TEE core/arch/arm/kernel/abort.c and kernel/user_ta.c; ldelf/sys.c.
    re.compile(r"E/(?:TC|LD):.*(?:-abort at address|TA panicked|\bpanicked\b|Unhandled)"),
)


def observe(
    target: Target,
    client: TeeClient | None,
    *,
    by: Deadline,
    counter_of: UUID | None = None,
    counter_command: int = COUNTER_READ,
    since: float = 0.0,
) -> Observed:
    """Everything that can be seen of the box now. ``since``: the console's mark (monotonic).

    With ``client`` the TEE is tried, too: its storage, and a TA that it must not load, which lies
    on the box's disk for a moment. ``counter_of``: an enclave with a sealed counter, and the number
    of its command that gives it. Raises LinkError, BoxDied; what the box refuses is left out.
    """
    fields, signature = read_normal_world(target.shell, target.layout, by=by)
    if client is not None and Capability.TA_LOAD in target.capabilities:
        fields["storage"] = _opened(client, uuid4(), by)
        with suppress(DeviceRefused):  # a TA directory on which nothing can be written
            fields["bad_ta"] = _bad_ta(target, client, signature or 256, by)
        if counter_of is not None:
            with _storage_told(fields):
                fields["counter"] = _counter(client, counter_of, counter_command, by)
    fields["boot"] = _boot(target, by)
    fields["log"] = _log(target, since)
    return Observed(**fields)


def bad_ta(uuid: UUID, signature_size: int) -> bytes:
    """A TA file with everything right but its signature, which is random."""
    payload = os.urandom(4096)
    header = struct.pack("<IIIIHH", MAGIC, 1, len(payload), 0x70414930, 32, signature_size)
    about = uuid.bytes + struct.pack("<I", 0)
    digest = hashlib.sha256(header + about + payload).digest()
    return header + digest + os.urandom(signature_size) + about + payload


def _bad_ta(target: Target, client: TeeClient, signature: int, by: Deadline) -> TeeAnswer:
    """Under a UUID that was never used before, so that it stands in nobody's place."""
    uuid = uuid4()
    path = posixpath.join(target.layout.ta_directory, f"{uuid}.ta")
    try:
        target.shell.write(path, bad_ta(uuid, signature), by=by, mode=0o444)
        return _opened(client, uuid, by)
    finally:
        target.shell.run("rm", "-f", "--", path, by=Deadline.after(_REMOVING_SECONDS))


def _opened(client: TeeClient, uuid: UUID, by: Deadline) -> TeeAnswer:
    """What the TEE says to a session with ``uuid``."""
    try:
        client.open_session(uuid, by=by).close()
    except TeeRefused as refused:
        return TeeAnswer(refused.code, refused.origin)
    return TeeAnswer(0, 0)


@contextmanager
def _storage_told(fields: dict[str, object]) -> Iterator[None]:
    """An enclave that cannot read what it sealed tells of the storage."""
    try:
        yield
    except TeeRefused as refused:
        fields["storage"] = TeeAnswer(refused.code, refused.origin)


def _counter(client: TeeClient, uuid: UUID, command: int, by: Deadline) -> int:
    from harness.tee_params import Direction, Value

    with client.open_session(uuid, by=by) as session:
        result = session.invoke(command, Value(0, 0, Direction.OUT), by=by)
    result.check("reading the sealed counter")
    return value(result, 0)


def _boot(target: Target, by: Deadline) -> BootSeen | None:
    if target.boot_seen is not None:
        return target.boot_seen()
    return of_registers(read_in_linux(target.shell, by=by))


def _log(target: Target, since: float) -> LogSeen | None:
    console = target.consoles.get(World.SECURE) or target.consoles.get(World.NORMAL)
    if console is None:
        return None
    # What a box said that was since restored, or lost its power, is not about the one that is here.
    lines = console.lines(since=max(since, console.began))
    bad = [line.text for line in lines if any(sign.search(line.text) for sign in _BAD)]
    quoted = tuple(printable(text)[:_LONGEST_QUOTE].strip() for text in bad[:MOST_QUOTED])
    return LogSeen(len(lines), quoted)
