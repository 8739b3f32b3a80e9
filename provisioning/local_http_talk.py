"""One connection with a client of this station's own services: TLS, then HTTP by h11.

h11 is the parser: it reads chunked bodies, and refuses what two parsers could understand in two
ways (RFC 9112, 6.3: two lengths, none that is a number; 3.2: no Host).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import h11
from cryptography import x509

from harness.deadline import Deadline
from harness.errors import DeadlineExpired
from provisioning.local_http_tls import ServerTls, verified_chain

LARGEST_BODY = 1 << 16
_LARGEST_HEAD = 1 << 14
_GOODBYE_SECONDS = 1.0
_LINGER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. ``chain`` is the client's verified chain, leaf first; empty without one."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    chain: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What it is answered with. ``cut``: nothing at all, the connection is closed."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] | None = None
    cut: bool = False

    @classmethod
    def json(cls, status: int, found: object, headers: Mapping[str, str] | None = None) -> Told:
        kind = {"content-type": "application/json; charset=utf-8"}
        return cls(status, json.dumps(found).encode(), {**kind, **(headers or {})})


class _TooLarge(Exception):
    """The body of a request goes on beyond LARGEST_BODY. Stays in this module."""


class Talk:
    """``run`` it in a thread of its own; ``stop`` ends it from another one."""

    def __init__(
        self,
        plain: socket.socket,
        tls: ServerTls,
        answer: Callable[[Asked], Told],
        shook_hands: Callable[[], None],
        http: str,
        seconds: float,
    ) -> None:
        plain.setblocking(True)
        self._plain, self._tls, self._answer = plain, tls, answer
        self._shook_hands, self._http, self._seconds = shook_hands, http.encode(), seconds

    def run(self) -> None:
        try:
            secured = self._tls.context().wrap_socket(
                self._plain, server_side=True, do_handshake_on_connect=False
            )
        except OSError:  # the client has gone already
            self._plain.close()
            return
        self._plain = secured
        try:
            secured.settimeout(self._seconds)  # of the whole handshake
            secured.do_handshake()
            self._shook_hands()
            if self._speak(secured):
                # Clients end without close_notify, too.
                with contextlib.suppress(OSError, ValueError):
                    secured.settimeout(_GOODBYE_SECONDS)
                    secured.unwrap()
        except (OSError, DeadlineExpired):
            _linger(secured)  # what was wrong is judged by the client, if it gets the alert
        finally:
            secured.close()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._plain, socket.SHUT_RDWR)

    def _speak(self, secured: ssl.SSLSocket) -> bool:
        """Request by request; whether the end is one for a goodbye."""
        chain = tuple(verified_chain(secured))
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)
        while True:
            try:
                asked = self._next(secured, http, chain)
            except h11.RemoteProtocolError as problem:
                words = {"message": f"this is no HTTP request: {problem}"}
                return self._refuse(secured, http, problem.error_status_hint, words)
            except (TimeoutError, DeadlineExpired):
                if http.their_state is h11.IDLE and not http.trailing_data[0]:
                    return True
                words = {"message": f"the request was not whole after {self._seconds:.0f} s"}
                return self._refuse(secured, http, 408, words)
            except _TooLarge:
                return self._refuse(secured, http, 413, {"message": "the body is too large"})
            if asked is None:
                return True
            told = self._answer(asked)
            if told.cut:
                return False
            self._send(secured, http, told)
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return True
            http.start_next_cycle()

    def _next(
        self, secured: ssl.SSLSocket, http: h11.Connection, chain: tuple[x509.Certificate, ...]
    ) -> Asked | None:
        """The next request, whole; None when the client ended before one."""
        by, head, body = Deadline.after(self._seconds), None, bytearray()
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                if http.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    secured.sendall(http.send(go_on) or b"")
                secured.settimeout(by.left("a request"))
                http.receive_data(_received(secured))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > LARGEST_BODY:
                    raise _TooLarge
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _asked(head, bytes(body), chain)
            else:  # the connection is closed
                return None

    def _send(
        self, secured: ssl.SSLSocket, http: h11.Connection, told: Told, *, last: bool = False
    ) -> None:
        headers = [("Server", "trustbox")]
        headers += [(name, value) for name, value in (told.headers or {}).items() if value]
        if told.status != 204:
            headers.append(("Content-Length", str(len(told.body))))
        if last or self._http == b"HTTP/1.0":
            headers.append(("Connection", "close"))
        reason = HTTPStatus(told.status).phrase
        answer = h11.Response(status_code=told.status, headers=headers, reason=reason.encode())
        head = http.send(answer) or b""
        head = self._http + head.removeprefix(b"HTTP/1.1")
        body = b"" if told.status == 204 else http.send(h11.Data(data=told.body)) or b""
        secured.settimeout(self._seconds)
        secured.sendall(head + body + (http.send(h11.EndOfMessage()) or b""))

    def _refuse(
        self, secured: ssl.SSLSocket, http: h11.Connection, status: int, words: Mapping[str, str]
    ) -> bool:
        """The last answer of a connection whose next octets belong to nobody knows what."""
        if http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send(secured, http, Told.json(status, words), last=True)
        _linger(secured)
        return False


def _asked(head: h11.Request, body: bytes, chain: tuple[x509.Certificate, ...]) -> Asked:
    path, _, query = head.target.decode("ascii", "replace").partition("?")
    headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
    return Asked(head.method.decode(), path, query, headers, body, chain)


def _received(secured: ssl.SSLSocket) -> bytes:
    try:
        return secured.recv(65536)
    except (ssl.SSLEOFError, ConnectionResetError):
        return b""


def _linger(secured: ssl.SSLSocket) -> None:
    """Close so that the client can read our last words: unread octets would make it a reset."""
    by = Deadline.after(_LINGER_SECONDS)
    with (
        contextlib.suppress(OSError, DeadlineExpired),
        socket.socket(fileno=os.dup(secured.fileno())) as plain,
    ):
        plain.shutdown(socket.SHUT_WR)
        while True:
            plain.settimeout(by.left("the client to end"))
            if not plain.recv(65536):
                return
