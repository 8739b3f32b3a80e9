"""Running one program through the helper: input in portions it asks for, output as it comes."""

from __future__ import annotations

import contextlib
import os
import shlex
import struct
from collections.abc import Sequence

from harness.agent_client import AgentConnection
from harness.agent_frames import INPUT_WINDOW, NO_INPUT, Ending, Frame, FrameType
from harness.agent_unpack import Unpacker
from harness.deadline import Deadline
from harness.errors import BadFrame, DeadlineExpired, DeviceRefused, TrustBoxError
from harness.lookout import Lookout
from harness.ssh_exec import MOST_OUTPUT, Ended
from harness.vitals import Vitals

PORTION = 64 * 1024
SPARE_SECONDS = 5.0
CANCEL_SECONDS = 1.0
"""After the deadline, so short: who gets no answer closes the connection, which kills as well."""


def run_program(
    agent: AgentConnection,
    argv: Sequence[str],
    *,
    stdin: bytes,
    by: Deadline,
    most: int = MOST_OUTPUT,
    vitals: Vitals | None = None,
) -> Ended:
    """Run ``argv`` to its end; what it leaves running in the background is not waited for.

    Raises as ``Shell.run``, except CommandFailed; then the program was killed, and the connection
    must be closed. With ``vitals`` a box that is silent is looked for: see ``lookout``.
    """
    what = shlex.join(argv)[:200]
    request = agent.next_request()
    words = b"".join(os.fsencode(word) + b"\0" for word in argv)
    # The helper's own limit is for the case that nobody is left to cancel.
    limit = int((by.left(what) + SPARE_SECONDS) * 1000)
    count = len(argv) | (0 if stdin else NO_INPUT)
    head = struct.pack("<II", min(limit, 0xFFFFFFFF), count)
    rest = memoryview(stdin)
    first, rest = rest[:PORTION], rest[PORTION:]
    frames = [Frame(FrameType.SPAWN, request, head + words)]
    if first:
        frames.append(Frame(FrameType.INPUT, request, bytes(first)))
    if stdin and not rest:
        frames.append(Frame(FrameType.INPUT, request))
    agent.send(*frames, by=by)
    credit = INPUT_WINDOW - len(first)
    out, err, unpacker = bytearray(), bytearray(), Unpacker()
    lookout = Lookout(vitals, by) if vitals is not None else None
    try:
        while True:
            while rest and credit >= min(PORTION, len(rest)):
                portion, rest = bytes(rest[:PORTION]), rest[PORTION:]
                credit -= len(portion)
                more = [Frame(FrameType.INPUT, request, portion)]
                agent.send(*more, *([] if rest else [Frame(FrameType.INPUT, request)]), by=by)
            frame = _receive(agent, request, what, by, lookout)
            if frame.type is FrameType.OUT:
                out += frame.payload
            elif frame.type is FrameType.ERR:
                err += frame.payload
            elif frame.type is FrameType.OUT_PACKED:
                out += unpacker.take(frame.payload)
            elif frame.type is FrameType.ERR_PACKED:
                err += unpacker.take(frame.payload)
            elif frame.type is FrameType.TAKEN:
                credit += frame.numbers(1)[0]
            elif frame.type is FrameType.ENDED:
                return _ended(frame, argv, bytes(out), bytes(err), by)
            else:
                raise BadFrame(f"the helper sent {frame.type.name} while a program runs")
            if len(out) + len(err) > most:
                raise DeviceRefused(
                    f"{what} wrote more than {most} bytes, which is the most one command may",
                    hint="Let it write to a file on the box and read that in parts.",
                )
    except DeadlineExpired:
        if vitals is not None:
            vitals.examine()
        _cancel(agent, request)
        raise
    except DeviceRefused:
        _cancel(agent, request)
        raise


def _receive(
    agent: AgentConnection, request: int, what: str, by: Deadline, lookout: Lookout | None
) -> Frame:
    while True:
        try:
            frame = agent.receive(request, by=by if lookout is None else lookout.due)
        except DeadlineExpired:
            if lookout is None or by.expired:
                raise DeadlineExpired(f"{what} to end", by.seconds) from None
            lookout.look()
        else:
            if lookout is not None:
                lookout.heard()
            return frame


def _ended(frame: Frame, argv: Sequence[str], out: bytes, err: bytes, by: Deadline) -> Ended:
    how, value = frame.numbers(2)
    if how == Ending.EXIT:
        return Ended(value & 0xFF, out, err)
    if how == Ending.SIGNAL:
        return Ended(128 + (value & 0x7F), out, err)
    if how == Ending.LIMIT:
        raise DeadlineExpired(f"{shlex.join(argv)[:200]} to end", by.seconds)
    if how == Ending.NOT_STARTED:  # as POSIX shells say it
        missing = value == 2
        reason = "not found" if missing else os.strerror(value & 0xFF)
        return Ended(127 if missing else 126, out, err + f"{argv[0]}: {reason}\n".encode())
    raise BadFrame(f"the helper says a program ended in the unknown way {how}")


def _cancel(agent: AgentConnection, request: int) -> None:
    """Have the program killed; closing the connection afterwards makes sure of it."""
    with contextlib.suppress(TrustBoxError):
        by = Deadline.after(CANCEL_SECONDS)
        agent.send(Frame(FrameType.CANCEL, request), by=by)
        while agent.receive(request, by=by).type is not FrameType.ENDED:
            by.left("the end of a cancelled program")
