"""The SSH port that a bench shows, between real sockets: it stays, and has no goodbyes."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from emulator.bench_port import BenchPort
from harness.errors import RigError

SECONDS = 10.0


@dataclass(slots=True)
class Server:
    """Echoes, on a port that changes with each life, as QEMU's does."""

    listener: socket.socket | None = None
    accepted: list[socket.socket] = field(default_factory=list)

    def start(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, args=(self.listener,), daemon=True).start()

    def port(self) -> int:
        if self.listener is None:
            raise RigError("it is off")
        return int(self.listener.getsockname()[1])

    def kill(self) -> None:
        """As the kernel does with a process's sockets."""
        for sock in (self.listener, *self.accepted):
            if sock is not None:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()
        self.listener = None
        self.accepted.clear()

    def _serve(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                self.accepted.append(sock)
                threading.Thread(target=self._echo, args=(sock,), daemon=True).start()

    def _echo(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := sock.recv(65536):
                sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.start()
    yield server
    server.kill()


@pytest.fixture
def port(server: Server) -> Iterator[BenchPort]:
    port = BenchPort(0, server.port)
    yield port
    port.close()


def call(port: BenchPort) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port.number), timeout=SECONDS)


def echo(sock: socket.socket, data: bytes) -> bytes:
    threading.Thread(target=sock.sendall, args=(data,), daemon=True).start()
    got = bytearray()
    while len(got) < len(data) and (more := sock.recv(65536)):
        got += more
    return bytes(got)


def power_cut(port: BenchPort, server: Server) -> None:
    port.power_lost()
    server.kill()


def test_bytes_pass_in_both_directions(port: BenchPort) -> None:
    port.open()
    everything = bytes(range(256)) * 8192

    with call(port) as one, call(port) as another:
        assert echo(one, everything) == everything
        assert echo(another, b"beside it") == b"beside it"


def test_an_end_is_passed_on(port: BenchPort) -> None:
    port.open()
    with call(port) as sock:
        sock.sendall(b"last words")
        sock.shutdown(socket.SHUT_WR)

        assert sock.recv(100) == b"last words"
        assert sock.recv(100) == b""


def test_before_the_box_listens_callers_are_refused(port: BenchPort) -> None:
    with pytest.raises(ConnectionRefusedError):
        call(port)


def test_without_power_callers_are_refused_and_the_number_stays(
    port: BenchPort, server: Server
) -> None:
    port.open()
    power_cut(port, server)
    with pytest.raises(ConnectionRefusedError):
        call(port)

    server.start()
    port.open()
    with call(port) as sock:
        assert echo(sock, b"again") == b"again"


def test_nobody_else_gets_the_number(port: BenchPort) -> None:
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port.number))


def test_a_pulled_plug_says_no_goodbye(port: BenchPort, server: Server) -> None:
    port.open()
    with call(port) as sock:
        assert echo(sock, b"before") == b"before"
        power_cut(port, server)

        sock.sendall(b"are you there")
        sock.settimeout(0.5)
        with pytest.raises(TimeoutError):
            sock.recv(100)


def test_a_box_that_came_up_again_resets_what_it_does_not_know(
    port: BenchPort, server: Server
) -> None:
    port.open()
    with call(port) as sock:
        assert echo(sock, b"before") == b"before"
        power_cut(port, server)
        server.start()
        port.open()

        with pytest.raises(ConnectionResetError):
            sock.recv(100)


def test_the_last_number_is_taken_again(server: Server) -> None:
    first = BenchPort(0, server.port)
    first.open()
    call(first).close()
    first.close()
    second = BenchPort(first.number, server.port)
    second.close()

    assert second.number == first.number


@pytest.mark.parametrize("listening", [True, False])
def test_a_number_that_somebody_has_by_now_is_left_to_them(
    port: BenchPort, server: Server, listening: bool
) -> None:
    if listening:
        port.open()
    other = BenchPort(port.number, server.port)
    other.open()
    other.close()

    assert other.number != port.number
