"""HTTPS services of this station's own: the ground that ``local_est`` and ``local_dps`` stand on.

A client may show a certificate; OpenSSL verifies its chain against the CAs that the service trusts,
and what that means is the service's to judge. Each connection has a thread, and none waits longer
than ``_SECONDS`` for its other end.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509

from harness.errors import Misuse

LOOPBACK = "127.0.0.1"
_SECONDS = 20.0
_LARGEST_BODY = 1 << 16


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """A server's certificate (PEM, leaf first) and its key (PEM)."""

    chain: Path
    key: Path


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


class LocalServer(ABC):
    """``with`` it listens. ``port`` 0: one of the kernel's choice, in ``port`` afterwards.

    Raises Misuse when the address cannot be had. ``http`` is what the status line says; Debian's
    libest understands ``HTTP/1.0`` alone.
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
    ) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(files.chain, files.key)
        context.verify_mode = ssl.CERT_REQUIRED if must_show else ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=trusted)
        owner = self

        class Handler(_Handler):
            server_of = owner
            tls = context
            protocol_version = http

        try:
            server = _Server6 if ":" in listen else ThreadingHTTPServer
            self._http = server((listen, port), Handler)
        except OSError as problem:
            raise Misuse(
                f"{listen}:{port} cannot be listened on: {problem.strerror}",
                hint="Another program has it, or it is no address of this machine.",
            ) from problem
        self._http.daemon_threads = True
        self.port: int = self._http.server_address[1]
        self.handshakes = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    @abstractmethod
    def answer(self, asked: Asked) -> Told:
        """One request's answer, from a thread of its own."""

    def shook_hands(self) -> None:
        with self._lock:
            self.handshakes += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Server6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    server_version, sys_version = "trustbox", ""
    server_of: LocalServer
    tls: ssl.SSLContext
    timeout = _SECONDS
    _cut = False

    def setup(self) -> None:
        # The handshake is made in this connection's own thread: nobody waits for a slow client.
        self.request = self.tls.wrap_socket(
            self.request, server_side=True, do_handshake_on_connect=False
        )
        super().setup()

    def handle(self) -> None:
        try:
            self.request.settimeout(_SECONDS)
            self.request.do_handshake()
            self.server_of.shook_hands()
            super().handle()
        except OSError:
            self.close_connection = True
            self._linger()  # what was wrong is judged by the client, if it gets the alert

    def _linger(self) -> None:
        """Close so that the client can read our alert: unread octets would make it a reset."""
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.request.fileno())) as s:
            s.settimeout(5)
            s.shutdown(socket.SHUT_WR)
            while s.recv(65536):
                pass

    def finish(self) -> None:
        super().finish()
        if not self._cut:
            with contextlib.suppress(OSError, ValueError):  # clients end without close_notify, too
                self.request.settimeout(1)
                self.request = self.request.unwrap()
        self.request.close()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: an access log would hold who asked for what, and nobody asked for one."""

    def do_PUT(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        length = self.headers.get("content-length") or "0"
        if not length.isdigit() or int(length) > _LARGEST_BODY:
            self.close_connection = True
            self._send(Told.json(413, {"message": "no or too large a content-length"}))
            return
        # Read in any case: Microsoft's Node client sends a body with GET.
        body = self.rfile.read(int(length))
        path, _, query = self.path.partition("?")
        headers = {name.lower(): value for name, value in self.headers.items()}
        chain = tuple(verified_chain(self.request))
        told = self.server_of.answer(Asked(self.command, path, query, headers, body, chain))
        if told.cut:
            self.close_connection = self._cut = True
            return
        self._send(told)

    def _send(self, told: Told) -> None:
        self.send_response(told.status)
        for name, value in (told.headers or {}).items():
            if value:
                self.send_header(name, value)
        if told.status != 204:
            self.send_header("Content-Length", str(len(told.body)))
        self.end_headers()
        if told.status != 204:
            self.wfile.write(told.body)


def verified_chain(secured: ssl.SSLSocket) -> list[x509.Certificate]:
    """The client's verified chain, leaf first: public from Python 3.13 on, hidden before."""
    if not secured.getpeercert(binary_form=True):
        return []
    public = getattr(secured, "get_verified_chain", None)
    if public is not None:
        return [x509.load_der_x509_certificate(der) for der in public()]
    hidden = secured._sslobj.get_verified_chain()  # type: ignore[attr-defined]
    return [x509.load_pem_x509_certificate(c.public_bytes().encode()) for c in hidden]
