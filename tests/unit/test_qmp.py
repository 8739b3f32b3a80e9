"""QMP against a peer that says what QEMU might say, and against QEMU itself."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emulator.process import Process
from emulator.qmp import Qmp, QmpRefused, forwarded_port
from harness.deadline import Deadline
from harness.errors import BadFrame, BoxDied, DeadlineExpired, LinkLost
from harness.vitals import Vitals

_FORWARDED = """Hub -1 (net):
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ
  TCP[HOST_FORWARD]  17       127.0.0.1 37123       10.0.2.15    22     0     0
"""


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[tuple[Process, Qmp, Vitals]]:
    """A QEMU without a machine, and a session with it."""
    vitals = Vitals("qemu")
    ours, theirs = socket.socketpair()
    with theirs:
        fd = theirs.fileno()
        argv = ["qemu-system-aarch64", "-nodefaults", "-no-user-config", "-display", "none"]
        argv += ["-machine", "none", "-S", "-chardev", f"socket,id=q,fd={fd}", "-mon", "chardev=q"]
        argv[-1] += ",mode=control"
        process = Process.start(argv, fds=[fd], log=tmp_path / "qemu.log")
        process.tell(vitals.report_death)
    qmp = Qmp(ours)
    try:
        qmp.negotiate(by=Deadline.after(20))
        yield process, qmp, vitals
    finally:
        process.kill()
        qmp.close()


@pytest.fixture
def peer() -> Iterator[Callable[[bytes], Qmp]]:
    """Makes a session whose other end says the given bytes, then closes."""
    opened: list[Qmp] = []

    def saying(data: bytes) -> Qmp:
        ours, theirs = socket.socketpair()

        def talk() -> None:
            with theirs, contextlib.suppress(OSError):  # a refused peer is hung up on
                theirs.sendall(data)
                theirs.shutdown(socket.SHUT_WR)
                while theirs.recv(4096):
                    pass

        threading.Thread(target=talk, daemon=True).start()
        opened.append(Qmp(ours))
        return opened[-1]

    yield saying
    for qmp in opened:
        qmp.close()


def _lines(*messages: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(m).encode() + b"\r\n" for m in messages)


def test_qemu_answers_and_its_errors_come_with_its_own_words(
    qemu: tuple[Process, Qmp, Vitals],
) -> None:
    _, qmp, _ = qemu

    assert qmp.execute("query-status", by=Deadline.after(10))["running"] is False
    with pytest.raises(QmpRefused, match="no-such-command") as refused:
        qmp.execute("no-such-command", by=Deadline.after(10))
    assert refused.value.error_class == "CommandNotFound"


def test_the_end_of_qemu_is_noticed_and_named(qemu: tuple[Process, Qmp, Vitals]) -> None:
    process, qmp, vitals = qemu

    qmp.execute("quit", by=Deadline.after(10))
    process.wait(by=Deadline.after(10))

    with pytest.raises(BoxDied, match="QEMU ended with status 0"):
        vitals.check()


def test_a_meant_end_is_no_death(qemu: tuple[Process, Qmp, Vitals]) -> None:
    process, _, vitals = qemu

    process.kill()

    assert process.ended
    vitals.check()


def test_an_event_that_came_before_the_answer_is_kept_for_who_waits_for_it(
    peer: Callable[[bytes], Qmp],
) -> None:
    qmp = peer(_lines({"event": "STOP", "data": {"why": 1}}, {"return": 5, "id": 1}))

    assert qmp.execute("x", by=Deadline.after(10)) == 5
    assert qmp.event({"STOP"}, by=Deadline.after(10))["data"] == {"why": 1}


@pytest.mark.parametrize(
    "said",
    [b"[]\n", b"{\n", b"x" * 1_100_000, _lines({"id": 1})],
    ids=["not an object", "not JSON", "endless line", "neither answer nor event"],
)
def test_what_is_not_qmp_is_refused(peer: Callable[[bytes], Qmp], said: bytes) -> None:
    with pytest.raises(BadFrame):
        peer(said).execute("x", by=Deadline.after(10))


def test_a_connection_that_ends_before_the_answer_is_lost(peer: Callable[[bytes], Qmp]) -> None:
    with pytest.raises(LinkLost):
        peer(b"").execute("x", by=Deadline.after(10))


def test_an_answer_that_does_not_come_is_waited_for_until_the_deadline() -> None:
    ours, theirs = socket.socketpair()
    with theirs, pytest.raises(DeadlineExpired, match="answer to x"):
        Qmp(ours).execute("x", by=Deadline.after(0.05))
    ours.close()


def test_the_ssh_port_is_read_from_the_only_forwarding() -> None:
    assert forwarded_port(_FORWARDED) == 37123


@pytest.mark.parametrize(
    "text",
    ["", _FORWARDED * 2, _FORWARDED.replace("37123", "70000"), _FORWARDED.replace("HOST_", "")],
    ids=["none", "two", "no port number", "not a forwarding"],
)
def test_anything_but_one_forwarding_is_refused(text: str) -> None:
    with pytest.raises(BadFrame):
        forwarded_port(text)
