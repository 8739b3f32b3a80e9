"""A server that speaks Azure's Device Provisioning Service, for tests: it is not Microsoft's.

Real TLS on the loopback, a port of the kernel's choice. A device is let in by its client
certificate: the chain is verified by OpenSSL against the CAs of the enrollments, then the leaf's
name and its enrollment are. Faults are scripted: each request takes the next one, if there is any.
What it cannot show: Microsoft's limits, its allocation, its TLS front; see docs/enrollment.md.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import unquote

from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.links.dps_enrollments import Enrollments, verified_chain
from tests.links.est_pki import Pki

VERSIONS = frozenset({"2019-03-31", "2021-06-01", "2021-10-01", "2025-07-01-preview"})
_DEVICE_PATH = r"/([^/]+)/registrations/([^/]+)(/register|/operations/([^/]+))?"
HUB = "factory.azure-devices.net"


@dataclass(frozen=True, slots=True)
class Fault:
    """Answer one request with this instead; ``body`` None: a usual error body of that status."""

    status: int
    body: Mapping[str, object] | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    code: int = 0
    only: str = ""
    """Applies to requests whose ``METHOD path`` holds this text; others pass it by."""
    cut: bool = False
    """Close the connection instead of answering."""


@dataclass(slots=True)
class Registration:
    """A device that registered, and the polls until it is assigned."""

    operation: str
    polls_left: int
    state: dict[str, object]


class DpsServer:
    """``with DpsServer(pki) as server``; ``polls``: how often it says assigning (-1: for ever)."""

    def __init__(
        self,
        pki: Pki,
        *faults: Fault,
        polls: int = 1,
        retry_after: str | None = "0",
        outcome: Mapping[str, object] | None = None,
        port: int = 0,
        trusted: str | None = None,
    ) -> None:
        self.pki, self.polls, self.retry_after = pki, polls, retry_after
        self.outcome = dict(outcome or {})
        self.faults = list(faults)
        self.requests: list[str] = []
        self.subjects: list[str] = []
        self.handshakes = 0
        self.enrollments = Enrollments()
        self.registrations: dict[str, Registration] = {}
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki.here / "server.pem", pki.here / "server.key")
        context.verify_mode = ssl.CERT_OPTIONAL  # the factory's side has no certificate
        context.load_verify_locations(cadata=trusted or pki.text)
        owner = self

        class Handler(_Handler):
            server_of = owner
            tls = context

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True
        self.port: int = self._http.server_address[1]
        self.url = f"https://localhost:{self.port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> DpsServer:
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

    def fault_for(self, request: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.only in request:
                    self.faults.remove(fault)
                    return fault
        return None

    def register(self, device: str) -> tuple[int, dict[str, object]]:
        with self.lock:
            operation = f"4.{next(self.numbers):016x}.dd5e9d54-6d05.{device[:8]}"
            state = self._fresh(device)
            self.registrations[device] = Registration(operation, self.polls, state)
        return 202, {"operationId": operation, "status": "assigning"}

    def poll(self, device: str, operation: str) -> tuple[int, dict[str, object]]:
        with self.lock:
            known = self.registrations.get(device)
            if known is None or known.operation != operation:
                return 404, {}
            if known.polls_left:
                known.polls_left -= 1
                return 202, {"operationId": operation, "status": "assigning"}
            status = known.state["status"]
            return 200, {
                "operationId": operation, "status": status, "registrationState": known.state,
            }  # fmt: skip

    def _fresh(self, device: str) -> dict[str, object]:
        enrollment = self.enrollments.of(device)
        group = enrollment.id if enrollment and enrollment.group else ""
        chosen = (enrollment.body.get("deviceId") if enrollment else None) or device
        return {
            "registrationId": device,
            "createdDateTimeUtc": "2026-01-01T00:00:00.0Z",
            "assignedHub": HUB,
            "deviceId": chosen,
            "status": "assigned",
            "substatus": "initialAssignment",
            "lastUpdatedDateTimeUtc": "2026-01-01T00:00:01.0Z",
            "etag": "ImU4Ig==",
            "x509": {"enrollmentGroupId": group or None},
            **self.outcome,
        }


class _Handler(BaseHTTPRequestHandler):
    server_of: DpsServer
    tls: ssl.SSLContext
    protocol_version = "HTTP/1.1"
    timeout = 20

    def setup(self) -> None:
        self.request = self.tls.wrap_socket(
            self.request, server_side=True, do_handshake_on_connect=False
        )
        super().setup()

    def handle(self) -> None:
        try:
            self.request.settimeout(20)
            self.request.do_handshake()
            self.server_of.handshakes += 1
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
        self.request.close()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_PUT(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        owner = self.server_of
        # Read in any case: Microsoft's Node client sends a body with GET.
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path, _, query = self.path.partition("?")
        line = f"{self.command} {path}"
        owner.requests.append(line)
        fault = owner.fault_for(line)
        if fault is not None:
            if fault.cut:
                self.close_connection = True
                return
            self._send(fault.status, self._fault_body(fault), fault.headers)
            return
        version = dict(p.partition("=")[::2] for p in query.split("&")).get("api-version", "")
        if unquote(version) not in VERSIONS:
            self._send(400, _error(400000, "unknown api-version"))
            return
        if path.startswith(("/enrollments/", "/enrollmentGroups/")):
            self._send(*owner.enrollments.serve(self.command, path, dict(self.headers), body))
            return
        self._send(*self._device(path, body))

    def _device(self, path: str, body: bytes) -> tuple[int, object, dict[str, str]]:
        owner = self.server_of
        match = re.fullmatch(
            r"/([^/]+)/registrations/([^/]+)(/register|/operations/([^/]+))?", path
        )
        if match is None:
            return 404, _error(404000, "no such resource"), {}
        device = unquote(match[2]).lower()
        refused = self._who(device)
        if refused:
            return 401, _error(401002, refused), {}
        asking = {"retry-after": owner.retry_after} if owner.retry_after is not None else {}
        match (self.command, match[3], match[4]):
            case ("PUT", "/register", None):
                if json.loads(body or b"{}").get("registrationId", "").lower() != device:
                    return 400, _error(400004, "registrationId of body and address differ"), {}
                return *owner.register(device), asking
            case ("GET", str(), str() as operation):
                status, found = owner.poll(device, unquote(operation))
                if status == 404:
                    return 404, _error(404202, "Operation not found"), {}
                return status, found, asking
            case ("POST", None, None):
                known = owner.registrations.get(device)
                if known is None:
                    return 404, _error(404201, "Registration not found"), {}
                return 200, known.state, {}
        return 405, _error(405000, "method not allowed"), {}

    def _who(self, device: str) -> str:
        """Why the TLS client may not register ``device``; "" if it may."""
        der = self.request.getpeercert(binary_form=True)
        if not der:
            return "Invalid certificate"
        leaf = x509.load_der_x509_certificate(der)
        names = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        self.server_of.subjects.append(leaf.subject.rfc4514_string())
        if [str(n.value).lower() for n in names] != [device]:
            return "Invalid certificate"
        return self.server_of.enrollments.refuses(device, leaf, verified_chain(self.request))

    def _fault_body(self, fault: Fault) -> object:
        if fault.body is not None:
            return fault.body
        return _error(fault.code or fault.status * 1000, f"scripted {fault.status}")

    def _send(self, status: int, body: object, headers: Mapping[str, str] | None = None) -> None:
        octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json; charset=utf-8", **(headers or {})}
        self.send_response(status)
        for name, value in sent.items():
            if value:
                self.send_header(name, value)
        if status != 204:
            self.send_header("content-length", str(len(octets)))
        self.end_headers()
        if status != 204:
            self.wfile.write(octets)


def _error(code: int, message: str) -> dict[str, object]:
    return {
        "errorCode": code,
        "trackingId": "7f0c1e34-0000-4000-8000-c0ffee000001",
        "message": message,
        "timestampUtc": "2026-01-01T00:00:00.0Z",
    }
