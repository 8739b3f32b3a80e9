"""HTTPS services of this station's own: the ground that ``local_est`` and ``local_dps`` stand on.

A client may show a certificate; OpenSSL verifies its chain against the CAs that the service trusts,
and what that means is the service's to judge. Each connection has a thread, of which there are only
so many; one request has ``SECONDS`` from the wait for it to its last octet, however slowly it drips
(local_http_talk).
"""

from __future__ import annotations

import selectors
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from harness.deadline import Deadline
from harness.errors import LinkError, Misuse, RigError, TrustBoxError
from provisioning.http_errors import ServiceRefused
from provisioning.local_http_talk import Asked, Talk, Told
from provisioning.local_http_tls import ServerFiles, ServerTls

__all__ = ["LOOPBACK", "Asked", "LocalServer", "ServerFiles", "Told", "named_trouble", "said"]

LOOPBACK = "127.0.0.1"
SECONDS = 20.0
MOST = 64
"""Connections at a time; who comes then waits until one ends, ``SECONDS`` at the longest."""
_END_SECONDS = 5.0
_TRIES = 20


class LocalServer(ABC):
    """``with`` it listens. ``port`` 0: one of the kernel's choice, in ``port`` afterwards.

    On the loopback it listens at both of its addresses, as ``localhost`` is either (RFC 6761, 6.3).
    Raises Misuse when the address cannot be had. ``http`` is what the status line says; Debian's
    libest understands ``HTTP/1.0`` alone. New files in the place of ``files`` serve from the next
    connection on.
    """

    def __init__(
        self,
        files: ServerFiles,
        *,
        trusted: str,
        port: int = 0,
        listen: str = LOOPBACK,
        must_show: bool = False,
        http: str = "HTTP/1.1",
        most: int = MOST,
        seconds: float = SECONDS,
    ) -> None:
        self._tls = ServerTls(files, trusted, must_show=must_show)
        self._listeners = _listening(listen, port)
        self.port: int = self._listeners[0].getsockname()[1]
        self.handshakes = 0
        self.trouble: TrustBoxError | None = None
        """What kept this station from the last answer, for who runs in the same process."""
        self._http, self._seconds = http, seconds
        self._lock = threading.Lock()
        self._free = threading.Semaphore(most)
        self._talks: dict[Talk, threading.Thread] = {}
        self._ending = threading.Event()
        self._woken, self._wake = socket.socketpair()
        self._thread = threading.Thread(target=self._accept_all, daemon=True)

    @abstractmethod
    def answer(self, asked: Asked) -> Told:
        """One request's answer, from a thread of its own."""

    def answered(self, asked: Asked) -> Told:
        """As ``answer``; what raises there is this station's trouble and not the client's."""
        self.trouble = None
        try:
            return self.answer(asked)
        except TrustBoxError as problem:
            self.trouble = problem
            if isinstance(problem, RigError | LinkError):  # of the station's HSM, of its disk
                return said(503, problem.message, {"Retry-After": "5"})
            return said(500, problem.message)
        except OSError as problem:
            where = f" ({problem.filename})" if problem.filename else ""
            told = f"this station cannot do it now: {problem.strerror}{where}"
            return said(503, told, {"Retry-After": "60"})

    def shook_hands(self) -> None:
        with self._lock:
            self.handshakes += 1

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as chosen:
            for one in (*self._listeners, self._woken):
                chosen.register(one, selectors.EVENT_READ)
            while True:
                self._free.acquire()
                ready = [key.fileobj for key, _ in chosen.select()]
                if self._ending.is_set():
                    return
                listener = next(one for one in self._listeners if one in ready)
                try:
                    plain, _ = listener.accept()
                except OSError:  # gone again before we came, or no descriptor left for it
                    self._free.release()
                    self._ending.wait(0.05)
                    continue
                self._begin(plain)

    def _begin(self, plain: socket.socket) -> None:
        talk = Talk(plain, self._tls, self.answered, self.shook_hands, self._http, self._seconds)

        def run() -> None:
            try:
                talk.run()
            finally:
                with self._lock:
                    del self._talks[talk]
                self._free.release()

        thread = threading.Thread(target=run, daemon=True)
        with self._lock:
            self._talks[talk] = thread
        thread.start()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self._wake.send(b".")
        self._free.release()
        self._thread.join()
        for one in (*self._listeners, self._woken, self._wake):
            one.close()
        with self._lock:
            left = dict(self._talks)
        for talk in left:
            talk.stop()
        by = Deadline.after(_END_SECONDS)  # one that waits for an HSM is left behind
        for thread in left.values():
            if not by.expired:
                thread.join(by.slice("a connection to end", _END_SECONDS))


@contextmanager
def named_trouble(own: LocalServer | None) -> Iterator[None]:
    """Around asking a server of this very process: what kept it from answering is raised in the
    place of the client's "busy or broken", which would be held against the way to it.
    """
    try:
        yield
    except (LinkError, ServiceRefused) as problem:
        if own is not None and own.trouble is not None:
            raise own.trouble from problem
        raise


def said(status: int, words: str, headers: Mapping[str, str] | None = None) -> Told:
    """A sentence for people."""
    kind = {"Content-Type": "text/plain; charset=utf-8"}
    return Told(status, f"{words}\n".encode(), {**kind, **(headers or {})})


def _listening(listen: str, port: int) -> tuple[socket.socket, ...]:
    """The sockets; two with one port on the loopback, where this host has IPv6."""
    if listen != LOOPBACK:
        return (_listener(listen, port),)
    for _ in range(_TRIES):
        first = _listener(LOOPBACK, port)
        chosen = first.getsockname()[1]
        try:
            return first, _listener("::1", chosen)
        except Misuse as problem:
            if not _has_ipv6():
                return (first,)
            first.close()
            if port:
                raise problem
    raise Misuse("no port is free at both 127.0.0.1 and ::1")


def _has_ipv6() -> bool:
    try:
        _listener("::1", 0).close()
    except Misuse:
        return False
    return True


def _listener(listen: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    try:
        made = socket.create_server((listen, port), family=family, backlog=128)
    except OSError as problem:
        raise Misuse(
            f"{listen}:{port} cannot be listened on: {problem.strerror}",
            hint="Another program has it, or it is no address of this machine.",
        ) from problem
    made.setblocking(False)  # who hangs up between select and accept must not stop everybody
    return made
