"""EST, enrollment over secure transport (RFC 7030, RFC 8951): the client.

::

    cacerts → wanted → enroll / reenroll → Issued
                                         → Parked (202 with a long Retry-After) → resume → …

The octets of a request are made once and repeated as they are: ECDSA would sign differently each
time, and a server that answered 202 wants to see the same again (RFC 7030 4.2.3).
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable
from dataclasses import dataclass, replace

from cryptography import x509

from harness.deadline import Deadline
from harness.errors import BadFrame, MissingCapability, Misuse
from harness.secret import Secret
from provisioning.est_answers import Issued, Parked, issued_for, judged, loaded_request, names
from provisioning.est_wire import (
    CHALLENGE_PASSWORD,
    certificates,
    plain_text,
    request_body,
    salvaged,
    wanted_attributes,
)
from provisioning.http_client import Answer, Http
from provisioning.http_connection import Connector
from provisioning.http_errors import ServiceBusy, ServiceRefused
from provisioning.http_waiting import backoff, pause, retry_after

WELL_KNOWN = "/.well-known/est"
PATIENCE = 60.0
"""Seconds of Retry-After up to which a station waits; beyond, the enrollment is parked."""

_FORBIDDEN = (
    "If it wants a client certificate: was one given, and did the server ask for it in TLS? One"
    " that never asks never sees it; TLS 1.3 servers may ask after the handshake as well."
)

Binder = Callable[[bytes], bytes]
"""Signs a request (DER) that is bound to a connection, given its tls-unique."""

Receiver = Callable[[tuple[x509.Certificate, ...]], None]


@dataclass(frozen=True, slots=True)
class BasicLogin:
    """HTTP Basic (RFC 7617), inside TLS only. The secret is asked for at each request."""

    user: str
    password: Callable[[], Secret]

    def header(self) -> str:
        if ":" in self.user or not self.user.isprintable():
            raise Misuse("a user name for HTTP Basic has no colon and no control character")
        joined = self.user.encode() + b":" + self.password().reveal()
        return "Basic " + base64.b64encode(joined).decode()


class EstClient:
    """One EST server, at ``https://host[:port]`` with an optional label of a CA (RFC 7030 3.2.2).

    Its methods raise Unreachable, UntrustedServer, LinkLost, DeadlineExpired, BadFrame,
    ServiceRefused (4xx, with the server's words) and ServiceBusy (5xx).
    """

    def __init__(
        self,
        url: str,
        connector: Connector,
        *,
        login: BasicLogin | None = None,
        label: str = "",
        patience: float = PATIENCE,
        received: Receiver = lambda issued: None,
    ) -> None:
        """``received`` is told what was issued before it is judged: a CA does not take it back."""
        if label and not label.replace("-", "a").replace("_", "a").isalnum():
            raise Misuse(f"{label[:40]!r} is no label of an EST CA")
        base = url.rstrip("/").removesuffix(WELL_KNOWN)
        self._http = Http(base, connector)
        self._path = f"{WELL_KNOWN}/{label}/" if label else f"{WELL_KNOWN}/"
        self._login, self._patience, self._received = login, patience, received

    def close(self) -> None:
        """End its connection. Safe to call twice, and to go on after."""
        self._http.close()

    def __enter__(self) -> EstClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cacerts(self, *, by: Deadline) -> tuple[x509.Certificate, ...]:
        """The server's CA certificates. As trustworthy as the connection is, no more."""
        answer = self._http.request("GET", f"{self._path}cacerts", by=by)
        self._refusal(answer, "asking for the CA certificates")
        return certificates(_typed(answer, "the CA certificates"), "the CA certificates")

    def wanted(self, *, by: Deadline) -> tuple[str, ...]:
        """OIDs of what the server wants in a request; empty when it has no wishes (204, 404)."""
        answer = self._http.request("GET", f"{self._path}csrattrs", by=by)
        if answer.status in (204, 404):
            return ()
        self._refusal(answer, "asking for the wanted attributes")
        return wanted_attributes(answer.body, "the wanted attributes")

    def enroll(self, request: bytes, *, by: Deadline) -> Issued | Parked:
        """A certificate for a PKCS#10 request (DER), /simpleenroll."""
        return self._repeat("simpleenroll", request, by)

    def reenroll(
        self, request: bytes, current: x509.Certificate, *, by: Deadline
    ) -> Issued | Parked:
        """A new certificate for the name of ``current``, for its key or another one.

        Raises Misuse, asking nobody, when the names differ (RFC 7030 4.2.2) or it has ended: the
        server would not let it authenticate; enroll anew then.
        """
        if names(loaded_request(request)) != names(current):
            raise Misuse("a re-enrollment must keep subject and subjectAltName as they are")
        if current.not_valid_after_utc <= datetime.datetime.now(datetime.UTC):
            raise Misuse("the present certificate has ended: enroll anew")
        return self._repeat("simplereenroll", request, by)

    def enroll_bound(self, sign: Binder, *, by: Deadline, again: bool = False) -> Issued | Parked:
        """As enroll (``again``: reenroll), with proof that signer and TLS client are one.

        For servers whose wishes hold a challengePassword. Each attempt signs anew, for its own
        connection. Raises MissingCapability over TLS 1.3, which has no tls-unique (RFC 9266 moves
        to tls-exporter, which Python's ssl does not give and RFC 7030 does not know).
        """
        operation = "simplereenroll" if again else "simpleenroll"
        return self._repeat(operation, sign, by)

    def needs_binding(self, *, by: Deadline) -> bool:
        return CHALLENGE_PASSWORD in self.wanted(by=by)

    def resume(self, parked: Parked, *, by: Deadline) -> Issued | Parked:
        """Ask again with the same octets; before its time, the same ``parked`` comes back."""
        if parked.bound:
            raise Misuse("a bound request cannot be repeated: enroll_bound anew")
        if parked.until > datetime.datetime.now(datetime.UTC):
            return parked
        return self._repeat(parked.operation, parked.request, by)

    def _repeat(self, operation: str, request: bytes | Binder, by: Deadline) -> Issued | Parked:
        attempt = 0
        while True:
            attempt += 1
            octets = request if isinstance(request, bytes) else self._bound(request, by)
            asked = loaded_request(octets)
            answer = self._post(operation, octets, by)
            if found := _issued(answer, operation):
                self._received(issued_for(found, asked))
                return judged(found, asked, same_name=operation == "simplereenroll")
            if answer.status != 202:
                self._refusal(answer, operation)
            wait = retry_after(answer.header("retry-after"))
            if wait is None:  # RFC 7030 4.2.3: MUST be there
                wait = max(backoff(attempt), 1.0)
            if wait > self._patience or wait >= by.left("the EST server's approval"):
                until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=wait)
                parked = Parked(operation, octets, until)
                return parked if isinstance(request, bytes) else replace(parked, bound=True)
            pause(max(wait, 0.5), "the EST server's approval", by=by)

    def _bound(self, sign: Binder, by: Deadline) -> bytes:
        binding = self._http.connection(by=by).tls_unique
        if binding is None:
            self._http.close()
            raise MissingCapability("this TLS connection", ["tls-unique (TLS 1.2 or older)"])
        return sign(binding)

    def _post(self, operation: str, octets: bytes, by: Deadline) -> Answer:
        headers = {
            "content-type": "application/pkcs10",
            "content-transfer-encoding": "base64",
            "accept": "application/pkcs7-mime",
        }
        if self._login is not None:
            headers["authorization"] = self._login.header()
        return self._http.request(
            "POST", f"{self._path}{operation}", by=by, headers=headers, body=request_body(octets)
        )

    def _refusal(self, answer: Answer, doing: str) -> None:
        """Raises for everything but 200. Credentials are offered once; a 401 is final."""
        status = answer.status
        if status == 200:
            return
        said = plain_text(answer.body) or "no reason given"
        if status == 401:
            offered = answer.header("www-authenticate").split(" ")[0][:20] or "nothing"
            had = "did not take the login" if self._login else "wants a login"
            raise ServiceRefused(
                doing, f"it {had} (it takes {offered}): {said}", http_status=status
            )
        if 300 <= status < 400:
            raise ServiceRefused(
                doing, "it points to another address, which is not followed", http_status=status
            )
        if status == 429 or status >= 500:
            raise ServiceBusy(doing, status, retry_after(answer.header("retry-after")))
        if status < 400:
            raise BadFrame(f"{doing}: the server answered {status}, which EST does not know")
        hint = _FORBIDDEN if status == 403 else ""
        raise ServiceRefused(doing, said, http_status=status, hint=hint)


def _issued(answer: Answer, operation: str) -> tuple[x509.Certificate, ...]:
    """What an answer brings, whatever its type and wrapping: nobody issues it a second time.

    Empty for an answer that says something else than yes. Raises BadFrame for a yes without one.
    """
    if not 200 <= answer.status < 300 or answer.status == 202:
        return ()
    try:
        if answer.status == 200:
            return certificates(_typed(answer, operation), operation)
    except BadFrame:
        if found := salvaged(answer.body):
            return found
        raise
    return salvaged(answer.body)


def _typed(answer: Answer, what: str) -> bytes:
    """The body, if it is said to be PKCS#7; any letter case and parameters are fine."""
    if answer.media_type not in ("application/pkcs7-mime", "application/x-pkcs7-mime"):
        shown = plain_text(answer.media_type.encode()) or "nothing"
        raise BadFrame(f"{what}: the server's answer is said to be {shown}")
    return answer.body
