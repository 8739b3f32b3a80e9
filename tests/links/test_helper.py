"""The helper itself, hostile input included: it answers cleanly or ends with its reason.

It is compiled with the address and undefined-behaviour sanitizers here, so that a read past a
buffer is a failure and not luck.
"""

from __future__ import annotations

import os
import random
import select
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest

from harness.agent_client import AgentConnection
from harness.agent_frames import HEADER, INPUT_WINDOW, MAGIC, MOST_PAYLOAD, Ending, Frame, FrameType
from harness.agent_program import run_program
from harness.deadline import Deadline
from harness.errors import BadFrame, DeviceRefused, LinkLost, Misuse
from harness.tee_params import Direction, Memref, Param, Value, encode
from tests.links.helper_process import PipeStream, build_sanitized

BAD_FRAME_STATUS = 3
UUID_OF_NOBODY = UUID("00000000-1111-4222-8333-444444444444").bytes


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_sanitized(tmp_path_factory.mktemp("helper"))


@pytest.fixture
def stream(binary: Path, by: Deadline) -> Iterator[PipeStream]:
    started = PipeStream.start(str(binary), "/dev/no-such-tee")
    yield started
    assert "Sanitizer" not in started.ended(by=by)[1]


@pytest.fixture
def helper(stream: PipeStream, by: Deadline) -> AgentConnection:
    connection = AgentConnection(stream)
    connection.start(by=by)
    return connection


def spawn(*words: bytes, limit: int = 0, count: int | None = None) -> bytes:
    return struct.pack("<II", limit, len(words) if count is None else count) + b"".join(
        word + b"\0" for word in words
    )


def test_a_ping_brings_its_bytes_back(helper: AgentConnection, by: Deadline) -> None:
    assert helper.ping(b"", by=by) == b""
    assert helper.ping(bytes(MOST_PAYLOAD), by=by) == bytes(MOST_PAYLOAD)


def test_it_ends_when_its_input_ends(
    helper: AgentConnection, stream: PipeStream, by: Deadline
) -> None:
    helper.ping(by=by)

    assert stream.ended(by=by) == (0, "")


def test_its_program_ends_with_it(
    helper: AgentConnection, stream: PipeStream, by: Deadline
) -> None:
    request = helper.next_request()
    words = spawn(b"sh", b"-c", b"echo $$; exec sleep 1000")
    helper.send(Frame(FrameType.SPAWN, request, words), by=by)
    pid = int(helper.receive(request, by=by).payload)
    descriptor = os.pidfd_open(pid)
    stream.ended(by=by)

    assert select.select([descriptor], [], [], by.left("the program to end"))[0]
    os.close(descriptor)


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        HEADER.pack(MAGIC ^ 1, 1, 1, 0),
        HEADER.pack(MAGIC, 1, 1, MOST_PAYLOAD + 1),
        HEADER.pack(MAGIC, 1, 1, 0xFFFFFFFF),
    ],
    ids=["text", "magic", "too long", "far too long"],
)
def test_what_is_no_frame_is_refused_and_ends_it(
    helper: AgentConnection, stream: PipeStream, by: Deadline, junk: bytes
) -> None:
    stream.send(junk, by=by)

    with pytest.raises(BadFrame, match=r"not a frame|too long"):
        helper.receive(0, by=by)
    assert stream.ended(by=by) == (BAD_FRAME_STATUS, "")


@pytest.mark.parametrize("kind", [0, 9, FrameType.HELLO, FrameType.OUT, 0x10001, 0xFFFFFFFF])
def test_an_unknown_request_is_refused_and_the_next_one_answered(
    helper: AgentConnection, stream: PipeStream, by: Deadline, kind: int
) -> None:
    stream.send(HEADER.pack(MAGIC, kind, 7, 3) + b"abc", by=by)

    with pytest.raises(BadFrame, match="no such request"):
        helper.receive(7, by=by)
    assert helper.ping(b"still", by=by) == b"still"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0\0\0",
        spawn(),
        spawn(b""),
        spawn(b"true", count=2),
        spawn(b"true", count=0xFFFFFFFF),
        spawn(b"true", b"too much", count=1),
        struct.pack("<II", 0, 1) + b"no end",
    ],
)
def test_a_list_of_words_that_is_none_is_refused(
    helper: AgentConnection, by: Deadline, payload: bytes
) -> None:
    with pytest.raises(BadFrame, match="not a list of words"):
        helper.ask(FrameType.SPAWN, payload, by=by)
    assert run_program(helper, ("true",), stdin=b"", by=by).status == 0


def test_one_program_at_a_time(helper: AgentConnection, by: Deadline) -> None:
    first, second = helper.next_request(), helper.next_request()
    helper.send(Frame(FrameType.SPAWN, first, spawn(b"cat")), by=by)
    helper.send(Frame(FrameType.SPAWN, second, spawn(b"true")), by=by)

    with pytest.raises(Misuse, match="runs already"):
        helper.receive(second, by=by)
    helper.send(Frame(FrameType.CANCEL, first), by=by)
    assert helper.receive(first, by=by).numbers(2) == (Ending.SIGNAL, 9)


def test_a_program_beyond_its_limit_is_killed(helper: AgentConnection, by: Deadline) -> None:
    frame = helper.ask(FrameType.SPAWN, spawn(b"sleep", b"1000", limit=50), by=by)

    assert (frame.type, frame.numbers(2)) == (FrameType.ENDED, (Ending.LIMIT, 50))


def test_input_beyond_the_window_ends_it(
    helper: AgentConnection, stream: PipeStream, by: Deadline
) -> None:
    """sleep reads nothing, so a pipe and the window fill up; more than that is not waited for."""
    request = helper.next_request()
    helper.send(Frame(FrameType.SPAWN, request, spawn(b"sleep", b"1000")), by=by)
    with suppress(BrokenPipeError):  # it may be gone before the last byte
        for _ in range(3):
            helper.send(Frame(FrameType.INPUT, request, bytes(INPUT_WINDOW)), by=by)

    with pytest.raises(BadFrame, match="beyond its window"):
        while True:
            helper.receive(request, by=by)
    assert stream.ended(by=by)[0] == BAD_FRAME_STATUS


def test_input_for_nobody_is_dropped(helper: AgentConnection, by: Deadline) -> None:
    helper.send(Frame(FrameType.INPUT, 99, b"late"), Frame(FrameType.CANCEL, 99), by=by)

    assert helper.ping(b"still", by=by) == b"still"


def test_output_that_nobody_takes_does_not_stop_it_from_listening(
    helper: AgentConnection, by: Deadline
) -> None:
    """Both ends writing and nobody reading is how such protocols deadlock."""
    request = helper.next_request()
    loud = spawn(b"sh", b"-c", b"head -c 3000000 /dev/zero; cat >/dev/null")
    helper.send(Frame(FrameType.SPAWN, request, loud), by=by)
    helper.send(Frame(FrameType.INPUT, request, bytes(INPUT_WINDOW)), by=by)
    helper.send(Frame(FrameType.INPUT, request), by=by)
    size = taken = 0
    while (frame := helper.receive(request, by=by)).type is not FrameType.ENDED:
        size += len(frame.payload) if frame.type is FrameType.OUT else 0
        taken += frame.numbers(1)[0] if frame.type is FrameType.TAKEN else 0

    assert (size, taken) == (3_000_000, INPUT_WINDOW)


def test_a_tee_that_is_not_there_is_a_refusal(helper: AgentConnection, by: Deadline) -> None:
    with pytest.raises(DeviceRefused, match=r"cannot be opened \(errno 2\)"):
        helper.ask(FrameType.TEE_VERSION, b"", by=by)


@pytest.mark.parametrize("kind", [FrameType.TEE_INVOKE, FrameType.TEE_CLOSE])
def test_an_unknown_session_is_refused(
    helper: AgentConnection, by: Deadline, kind: FrameType
) -> None:
    payload = struct.pack("<I", 5)
    if kind is FrameType.TEE_INVOKE:
        payload += struct.pack("<I", 0) + encode(())
    with pytest.raises(Misuse, match="no such session"):
        helper.ask(kind, payload, by=by)


@pytest.mark.parametrize(
    "params",
    [
        b"",
        bytes(15),
        bytes(17),
        struct.pack("<I", 4) + bytes(12),
        struct.pack("<I", 0x101) + bytes(12),
        struct.pack("<II", 1, 0),
        struct.pack("<II", 5, 100) + bytes(12),
    ],
    ids=["none", "short", "long", "type", "meta", "value", "memref"],
)
def test_parameters_that_are_none_are_refused(
    helper: AgentConnection, by: Deadline, params: bytes
) -> None:
    with pytest.raises(BadFrame, match="not a list of parameters"):
        helper.ask(FrameType.TEE_OPEN, UUID_OF_NOBODY + bytes(4) + params, by=by)


@pytest.mark.parametrize("sizes", [(0xFFFFFFFF,), (0x100001,), (0x80000, 0x80001), (0xFFFFFFFF, 1)])
def test_too_much_shared_memory_is_refused(
    helper: AgentConnection, by: Deadline, sizes: tuple[int, ...]
) -> None:
    params = b"".join(struct.pack("<II", 6, size) for size in sizes)
    payload = UUID_OF_NOBODY + bytes(4) + params + bytes(4 * (4 - len(sizes)))
    with pytest.raises(Misuse, match="too much shared memory"):
        helper.ask(FrameType.TEE_OPEN, payload, by=by)


def plausible(chance: random.Random) -> bytes:
    """A frame that is nearly right: such input reaches further than noise."""
    params: tuple[Param, ...] = (
        Value(1, 2, Direction.INOUT),
        Memref(bytes(chance.randrange(300)), Direction.INOUT),
        Memref(chance.randrange(3000), Direction.OUT),
    )
    payload = chance.choice(
        [
            b"",
            spawn(b"true", limit=chance.randrange(3)),
            spawn(b"cat"),
            UUID_OF_NOBODY + bytes(4) + encode(params),
            bytes(8) + encode(params),
            chance.randbytes(chance.randrange(200)),
        ]
    )
    data = bytearray(payload)
    for _ in range(chance.randrange(3)):
        if data:
            data[chance.randrange(len(data))] = chance.randrange(256)
    # Never SPAWN with altered words: what would run is anybody's guess.
    kinds = [1, 3, 4, 5, 6, 7, 8, 9] if bytes(data) != payload else list(range(10))
    kind = chance.choice(kinds if data[:1] != b"\x2f" else [1])
    if kind == FrameType.SPAWN and bytes(data) not in (spawn(b"true"), spawn(b"cat")):
        kind = FrameType.PING
    return HEADER.pack(MAGIC, kind, chance.randrange(3), len(data)) + bytes(data)


@pytest.mark.parametrize("seed", range(40))
def test_no_input_makes_it_misbehave(binary: Path, by: Deadline, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - repeatable on purpose
    stream = PipeStream.start(str(binary), "/dev/no-such-tee")
    data = b"".join(plausible(chance) for _ in range(60))
    if seed % 2:
        data = data[: chance.randrange(len(data))] + chance.randbytes(50)
    with suppress(BrokenPipeError):
        stream.send(data, by=by)
    status, report = stream.ended(by=by)

    assert status in (0, 1, BAD_FRAME_STATUS), report
    assert "Sanitizer" not in report


def test_a_helper_that_ended_is_a_lost_link(
    helper: AgentConnection, stream: PipeStream, by: Deadline
) -> None:
    stream.process.kill()

    with pytest.raises((LinkLost, BrokenPipeError)):
        helper.ping(by=by)
    stream.process.wait()
