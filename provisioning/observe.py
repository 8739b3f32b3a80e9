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
from harness.errors import BadFrame, DeviceRefused, IntegrityFailure, TeeRefused
from harness.panics import DEFAULT_PANICS
from harness.shown import printable
from harness.target import Target, World
from harness.tee import TeeClient
from harness.tee_codes import TeeCode, TeeOrigin
from harness.tee_trouble import STORAGE_CODES
from provisioning.enclave_format import MAGIC
from provisioning.observe_script import read_normal_world
from provisioning.observed import LogSeen, Observed, TeeAnswer
from provisioning.sample_enclave import COUNTER_READ
from provisioning.storage_witness import initialised_tokens
from provisioning.tee_answers import value

MOST_QUOTED = 5
_LONGEST_QUOTE = 200
_REMOVING_SECONDS = 30.0
_PLANTED = "54424144-5441-4"
"""How the UUIDs of planted TAs begin ("TBADTA", version 4): no other TA's do. By it the next look
finds what one left that was killed."""
_HEX = "[0-9a-f]"
_CLEAR = f'rm -f -- "$1"/{_PLANTED}{_HEX * 3}-[89ab]{_HEX * 3}-{_HEX * 12}.ta'
_BAD = (
    *(re.compile(pattern.pattern.decode()) for pattern in DEFAULT_PANICS),
    # OP-TEE core/arch/arm/kernel/abort.c and kernel/user_ta.c; ldelf/sys.c.
    re.compile(r"E/(?:TC|LD):.*(?:-abort at address|TA panicked|\bpanicked\b|Unhandled)"),
)


class Look:
    """One look at a box: what its normal world says, then its TEE, then its rig and console."""

    def __init__(self, target: Target, fields: dict[str, object], planted: UUID | None) -> None:
        self._target, self._fields, self._planted = target, fields, planted

    def try_tee(
        self,
        client: TeeClient,
        *,
        by: Deadline,
        counter_of: UUID | None = None,
        counter_command: int = COUNTER_READ,
    ) -> None:
        """Its storage, and whether it refuses what it must. ``counter_of``: an enclave with a
        sealed counter, and the number of its command that gives it."""
        if self._target.missing((Capability.TA_LOAD,)):
            return
        storage = self._fields["storage"] = _opened(client, uuid4(), by)
        if self._planted is not None:
            self._fields["bad_ta"] = _opened(client, self._planted, by)
        if storage.code == TeeCode.ITEM_NOT_FOUND:  # else each more look can make it worse
            with _storage_told(self._fields), suppress(BadFrame, IntegrityFailure):
                self._fields["tokens"] = initialised_tokens(client, by=by)
        if counter_of is not None:
            with _storage_told(self._fields):
                self._fields["counter"] = _counter(client, counter_of, counter_command, by)

    def seen(self, *, since: float, by: Deadline) -> Observed:
        """All of it. ``since``: the console's mark (monotonic)."""
        self._fields["boot"] = _boot(self._target, by)
        self._fields["log"] = _log(self._target, since)
        return Observed(**self._fields)  # type: ignore[arg-type]


@contextmanager
def looking(target: Target, *, plant: bool, by: Deadline) -> Iterator[Look]:
    """Read the normal world. Raises LinkError, BoxDied; what the box refuses is left out.

    ``plant``: until the end a TA lies on the box's disk that its TEE must not load, under a UUID
    that was never used before, so that it stands in nobody's place. What an earlier look left that
    was killed is cleared away: for whoever holds the box. These are commands, and before and after
    talk to the TEE: so one helper does for all.
    """
    fields, signature = read_normal_world(target.shell, target.layout, by=by)
    if not plant or target.missing((Capability.TA_LOAD,)):
        yield Look(target, fields, None)
        return
    if any(name.startswith(_PLANTED) for name in fields["ta_files"] or ()):
        with suppress(DeviceRefused):  # a TA directory that cannot be written: they stay in sight
            target.shell.run("sh", "-c", _CLEAR, "sh", target.layout.ta_directory, by=by)
        fields, signature = read_normal_world(target.shell, target.layout, by=by)
    uuid = _planted_uuid()
    path = posixpath.join(target.layout.ta_directory, f"{uuid}.ta")
    planted = None
    try:
        with suppress(DeviceRefused):  # a TA directory on which nothing can be written
            # One process, which makes it readable for a supplicant that is not root.
            argv = ("dd", f"of={path}", "status=none")
            target.shell.run(*argv, stdin=bad_ta(uuid, signature or 256), by=by)
            planted = uuid
        yield Look(target, fields, planted)
    finally:
        target.shell.run("rm", "-f", "--", path, by=Deadline.after(_REMOVING_SECONDS))


def _planted_uuid() -> UUID:
    """A new one for a TA that is planted."""
    return UUID(_PLANTED + str(uuid4())[len(_PLANTED) :])


def bad_ta(uuid: UUID, signature_size: int) -> bytes:
    """A TA file with everything right but its signature, which is random."""
    payload = os.urandom(4096)
    header = struct.pack("<IIIIHH", MAGIC, 1, len(payload), 0x70414930, 32, signature_size)
    about = uuid.bytes + struct.pack("<I", 0)
    digest = hashlib.sha256(header + about + payload).digest()
    return header + digest + os.urandom(signature_size) + about + payload


def _opened(client: TeeClient, uuid: UUID, by: Deadline) -> TeeAnswer:
    """What the TEE says to a session with ``uuid``."""
    try:
        client.open_session(uuid, by=by).close()
    except TeeRefused as refused:
        return TeeAnswer(refused.code, refused.origin)
    return TeeAnswer(0, 0)


@contextmanager
def _storage_told(fields: dict[str, object]) -> Iterator[None]:
    """An enclave that cannot read what it sealed tells of the storage; of one that
    cannot be opened, or does not count, the counter is absent."""
    try:
        yield
    except TeeRefused as refused:
        if of_storage(refused):
            fields["storage"] = TeeAnswer(refused.code, refused.origin)


def of_storage(refused: TeeRefused) -> bool:
    """Whether an enclave's refusal is about storage: 0xffff000f is when the enclave itself says so,
    and about the enclave's file when the TEE does."""
    return refused.code in STORAGE_CODES or (
        refused.code == TeeCode.SECURITY and refused.origin == TeeOrigin.TRUSTED_APP
    )


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
