"""A connection takes no longer than its deadline, whatever the resolver and the addresses do."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from harness.connecting import connected
from harness.deadline import Deadline
from harness.errors import DeadlineExpired, Unreachable
from harness.ready import readable, writable


@pytest.fixture
def open_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """It has as many callers as it takes: who comes now hears nothing at all."""
    with socket.create_server(("127.0.0.2", 0), backlog=0) as listening:
        where = listening.getsockname()
        callers = [socket.socket() for _ in range(4)]
        for one in callers:
            one.setblocking(False)
            one.connect_ex(where)
        yield where[1]
        for one in callers:
            one.close()


def answers(monkeypatch: pytest.MonkeyPatch, *found: tuple[str, int]) -> None:
    def look_up(*_: object, flags: int = 0, **__: object) -> list[object]:
        if flags:
            raise socket.gaierror("no address, but a name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where) for where in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_a_resolver_that_hangs_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    ever = threading.Event()

    def hang(*_: object, flags: int = 0, **__: object) -> list[object]:
        if flags:
            raise socket.gaierror("no address, but a name")
        ever.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    began = time.monotonic()

    with pytest.raises(DeadlineExpired, match=r"the address of est\.example"):
        connected("est.example", 443, by=Deadline.after(0.2))

    assert time.monotonic() - began < 20
    ever.set()


def test_a_silent_address_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch, silent_port: int, open_port: int
) -> None:
    answers(monkeypatch, ("127.0.0.2", silent_port), ("127.0.0.1", open_port))

    connected("two.example", 443, by=Deadline.after(2)).close()


def test_silent_addresses_take_the_deadline_together(
    monkeypatch: pytest.MonkeyPatch, silent_port: int
) -> None:
    answers(monkeypatch, *[("127.0.0.2", silent_port)] * 50)
    began = time.monotonic()

    with pytest.raises(DeadlineExpired, match=r"two\.example:443 to answer"):
        connected("two.example", 443, by=Deadline.after(0.5))

    assert time.monotonic() - began < 15


def test_nobody_there_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        free = listening.getsockname()[1]
    with pytest.raises(Unreachable, match="cannot be reached"):
        connected("127.0.0.1", free, by=Deadline.after(10))

    def nobody_knows(*_: object, **__: object) -> list[object]:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody_knows)
    with pytest.raises(Unreachable, match="cannot be found: Name or service"):
        connected("bench-07.invalid", 443, by=Deadline.after(30))


def test_descriptors_beyond_1023_are_waited_for() -> None:
    """select() ends with ValueError there, and so did a station with dozens of lanes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    reading, writing = os.pipe()
    far = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 2000) for one in (reading, writing)]
    try:
        assert readable([far[0]], 0) == set()
        assert writable([far[1]], 0) == {far[1]}
        os.write(far[1], b"x")
        assert readable([reading, far[0]], 10) == {reading, far[0]}
    finally:
        for one in (*far, reading, writing):
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
