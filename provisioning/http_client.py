"""HTTP for EST and DPS: httpx over connections of ours, strict about time, size and redirects.

httpx has a time-out for each read, so a server that drips lasts for ever; here every octet is
waited for against one deadline. Nothing is followed: a redirect with credentials goes nowhere.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from harness.deadline import Deadline
from harness.errors import BadFrame, LinkLost, Misuse
from provisioning.http_connection import Connection, Connector

LONGEST_BODY = 1 << 20
"""Octets of an answer's body: far above a chain of certificates."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; header names in lower case, the last of a repeated one counts."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        return self.headers.get(name, "")

    @property
    def media_type(self) -> str:
        return self.header("content-type").partition(";")[0].strip().lower()


class Http:
    """Requests to one ``https://host[:port]``. Keeps its connection; ``close()`` ends it."""

    def __init__(self, url: str, connector: Connector) -> None:
        """Raises Misuse unless ``url`` is https and names a host and no user."""
        if "@" in url or "?" in url or "#" in url:  # never quoted: there may be a password in it
            raise Misuse("this URL has a user, a query or a fragment in it: https://host[:port]")
        try:
            self.base = httpx.URL(url.rstrip("/"))
        except httpx.InvalidURL:
            raise Misuse(f"{url[:80]!r} is no URL") from None
        if self.base.scheme != "https" or not self.base.host:
            raise Misuse(f"{url[:80]!r} is no https URL of a host")
        self._backend = _Backend(connector)
        self._client = httpx.Client(transport=_Transport(self._backend), trust_env=False)

    def connection(self, *, by: Deadline) -> Connection:
        """A connection made now, which the next request will use: for what binds to one."""
        self.close()
        return self._backend.prepare(self.base.host, self.base.port or 443, by)

    def request(
        self,
        method: str,
        path: str,
        *,
        by: Deadline,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Answer:
        """``path`` (with its query, percent-encoded) is put behind the base URL.

        Raises what a Connector and a Connection raise, BadFrame for what is not HTTP or too much.
        """
        self._backend.by = by
        sent = {"accept-encoding": "identity", "user-agent": "trustbox", **(headers or {})}
        try:
            with self._client.stream(
                method, f"{self.base}{path}", headers=sent, content=body or None
            ) as found:
                return self._read(found)
        except (httpx.RemoteProtocolError, httpcore.RemoteProtocolError) as problem:
            if self._backend.ended:
                raise LinkLost(f"{self.base.host} ended the connection in mid-answer") from problem
            raise BadFrame(f"{self.base.host} does not speak HTTP: {problem}") from problem
        except httpx.HTTPError as problem:  # its own faults; ours come through as they are
            raise LinkLost(f"{self.base.host}: {problem}") from problem

    def _read(self, found: httpx.Response) -> Answer:
        headers = {name.lower(): value for name, value in found.headers.items()}
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise BadFrame(f"{self.base.host} packed its answer, which was not allowed")
        body = bytearray()
        for part in found.iter_raw():
            body += part
            if len(body) > LONGEST_BODY:
                raise BadFrame(f"{self.base.host} answers more than {LONGEST_BODY} octets")
        return Answer(found.status_code, headers, bytes(body))

    def close(self) -> None:
        """End the connection; the next request makes another."""
        self._client.close()
        self._client = httpx.Client(transport=_Transport(self._backend), trust_env=False)
        self._backend.close()


class _Backend(httpcore.NetworkBackend):
    """Makes connections with our connector, and holds the deadline of the present request."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._ready: Connection | None = None
        self.by = Deadline.after(0)
        self.ended = False

    def prepare(self, host: str, port: int, by: Deadline) -> Connection:
        self.close()
        self._ready = self._connector.connect(host, port, by=by)
        return self._ready

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> _Stream:
        self.ended = False
        ready, self._ready = self._ready, None
        return _Stream(self, ready or self._connector.connect(host, port, by=self.by))

    def close(self) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.close()


class _Stream(httpcore.NetworkStream):
    def __init__(self, backend: _Backend, connection: Connection) -> None:
        self._backend, self._connection = backend, connection

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data = self._connection.receive(max_bytes, by=self._backend.by)
        self._backend.ended = not data
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._connection.send(buffer, by=self._backend.by)

    def close(self) -> None:
        self._connection.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> _Stream:
        return self  # the connector did it

    def get_extra_info(self, info: str) -> Any:
        return self._connection.readable() if info == "is_readable" else None


class _Transport(httpx.BaseTransport):
    """httpx's own transport takes no network backend; this is the part of it that is needed."""

    def __init__(self, backend: _Backend) -> None:
        # The context is never used; without one httpcore would read the system's roots.
        unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._pool = httpcore.ConnectionPool(
            ssl_context=unused, max_connections=1, network_backend=backend
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer.stream))

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Any:
        yield from self._stream

    def close(self) -> None:
        self._stream.close()
