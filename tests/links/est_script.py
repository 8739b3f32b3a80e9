"""A TLS server that answers octets of the test's choice: for what no sane server would do."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from types import TracebackType

from tests.links.est_pki import Pki

Line = bytes | Callable[[ssl.SSLSocket, bytes], None]
"""What one request is answered with: octets, or a function that does it."""


def answer(
    body: bytes,
    *,
    status: str = "200 OK",
    kind: str = "application/pkcs7-mime; smime-type=certs-only",
    version: str = "1.1",
    **headers: str,
) -> bytes:
    """A whole answer; a header's name has ``_`` for ``-``."""
    lines = [f"HTTP/{version} {status}", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"Content-Type: {kind}"] if kind else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class ScriptedServer:
    """Answers its lines in turn, one a connection, the last one for ever; keeps what it got."""

    def __init__(
        self,
        pki: Pki,
        *lines: Line,
        newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        asks_later: bool = False,
    ) -> None:
        """``asks_later``: a line may ask for the client's certificate after the handshake."""
        self._lines = lines
        self.requests: list[bytes] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.maximum_version = newest
        if asks_later:
            self._context.post_handshake_auth = True
            self._context.load_verify_locations(cadata=pki.text)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.load_cert_chain(pki.here / "server.pem", pki.here / "server.key")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"https://localhost:{self.port}"
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            plain.settimeout(20)
            try:
                with self._context.wrap_socket(plain, server_side=True) as secured:
                    self._answer(secured)
            except OSError:
                plain.close()  # the client did not like us: its right

    def _answer(self, secured: ssl.SSLSocket) -> None:
        request = read_request(secured)
        if not request:
            return
        line = self._lines[min(len(self.requests), len(self._lines) - 1)]
        self.requests.append(request)
        if isinstance(line, bytes):
            secured.sendall(line)
            secured.unwrap()
        else:
            line(secured, request)


def read_request(secured: ssl.SSLSocket) -> bytes:
    """Head and body of one request; b"" when there is none."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = secured.recv(65536)
        if not part:
            return b""
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += secured.recv(65536)
    return head + b"\r\n\r\n" + body
