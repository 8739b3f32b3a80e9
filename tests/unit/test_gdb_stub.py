"""What QEMU's gdb stub may answer, and that nothing else passes for memory."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from emulator.tamper.gdb_stub import GdbStub, NotMapped
from harness.deadline import Deadline
from harness.errors import BadFrame, LinkLost


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(5)


@pytest.fixture
def ends() -> Iterator[tuple[GdbStub, socket.socket]]:
    """A session, and the socket on which its answers are written."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield GdbStub(ours), theirs


def packet(text: str) -> bytes:
    return f"+${text}#{sum(text.encode()) % 256:02x}".encode()


def test_memory_is_read_as_it_is_told(ends: tuple[GdbStub, socket.socket], by: Deadline) -> None:
    stub, qemu = ends
    qemu.sendall(packet("00ff10"))

    assert stub.read(0xE100000, 3, by=by) == b"\x00\xff\x10"
    assert qemu.recv(100).startswith(b"$me100000,3#")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(packet("E14"), NotMapped, id="an error"),
        pytest.param(packet("00ff"), BadFrame, id="too short"),
        pytest.param(packet("00ffzz"), BadFrame, id="no hex"),
        pytest.param(b"+$00ff10#00", BadFrame, id="another checksum"),
        pytest.param(b"+00ff10#7b", BadFrame, id="no beginning"),
    ],
)
def test_another_answer_is_no_memory(
    ends: tuple[GdbStub, socket.socket], by: Deadline, answer: bytes, error: type[Exception]
) -> None:
    stub, qemu = ends
    qemu.sendall(answer)

    with pytest.raises(error):
        stub.read(0xE100000, 3, by=by)


def test_a_write_that_was_not_done_is_told(
    ends: tuple[GdbStub, socket.socket], by: Deadline
) -> None:
    stub, qemu = ends
    qemu.sendall(packet("E14"))

    with pytest.raises(NotMapped):
        stub.write(0, b"\0", by=by)


def test_a_stub_that_goes_away_is_told(ends: tuple[GdbStub, socket.socket], by: Deadline) -> None:
    stub, qemu = ends
    qemu.shutdown(socket.SHUT_RDWR)

    with pytest.raises(LinkLost):
        stub.read(0, 3, by=by)
