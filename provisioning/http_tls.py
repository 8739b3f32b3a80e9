"""TLS in this process: Python's own, with no client certificate or one whose key is a file."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.connecting import connected
from harness.deadline import Deadline
from harness.errors import BadInput, DeadlineExpired, LinkLost, TrustBoxError
from harness.ready import readable
from harness.secret import Secret
from provisioning.certificates import pem
from provisioning.est_wire import plain_text
from provisioning.http_errors import ServiceRefused, UntrustedServer
from provisioning.key_files import private_pem_in
from provisioning.trusted_files import chain_in, roots_of

_NAMES = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH (x509_vfy.h)."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """A certificate with its issuers (PEM, leaf first) and its key (PEM), both in files."""

    chain: Path
    key: Path
    password: Callable[[], Secret] | None = None


@dataclass(frozen=True, slots=True)
class TlsConnector:
    """Implements ``Connector``.

    ``trusted``: PEM text of the roots that may vouch for the server; None: the system's. A text
    without a certificate trusts nobody: BadInput, before anybody is connected to.
    ``bindable``: no TLS 1.3, so that there is a tls-unique (RFC 5929 ends with TLS 1.2).
    """

    trusted: str | None = None
    identity: FileIdentity | None = None
    bindable: bool = False

    def connect(self, host: str, port: int, *, by: Deadline) -> TlsConnection:
        context = self._context()
        what = f"{host}:{port}"
        plain = connected(host, port, by=by)
        try:
            plain.settimeout(by.left(f"TLS with {what}"))
            secured = context.wrap_socket(plain, server_hostname=host, suppress_ragged_eofs=False)
        except BaseException as problem:
            plain.close()
            if isinstance(problem, ssl.SSLCertVerificationError) and problem.verify_code in _NAMES:
                named = self._names(context, host, port, by)
                raise UntrustedServer(what, f"{problem.verify_message}{named}") from problem
            raise _judged(what, problem, by) from problem
        return TlsConnection(secured, what)

    @staticmethod
    def _names(context: ssl.SSLContext, host: str, port: int, by: Deadline) -> str:
        """The names of a certificate that a trusted root vouches for and that bears others."""
        context.check_hostname = False
        try:
            with connected(host, port, by=by) as plain:
                plain.settimeout(by.left(f"TLS with {host}:{port}"))
                with context.wrap_socket(plain, server_hostname=host) as secured:
                    found = secured.getpeercert() or {}
        except (OSError, TrustBoxError):
            return ""
        listed = found.get("subjectAltName", ())
        names = [str(one[1]) for one in listed if isinstance(one, tuple) and len(one) == 2]
        return f"; it is for {plain_text(', '.join(names[:8]).encode()) or 'no name'}"

    def _context(self) -> ssl.SSLContext:
        # With an empty text it would take the system's roots.
        roots = None if self.trusted is None else roots_of(self.trusted)
        context = ssl.create_default_context(cadata=roots)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.bindable:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        if self.identity is not None:
            # A web server with a rule per path asks when it has seen the path (RFC 8446 4.6.2).
            context.post_handshake_auth = True
            self._load(context, self.identity)
        return context

    @staticmethod
    def _load(context: ssl.SSLContext, mine: FileIdentity) -> None:
        # Without a callback OpenSSL would ask for an encrypted key's password on the terminal.
        password = mine.password
        chain, key = pem(*chain_in(mine.chain)), private_pem_in(mine.key)
        try:
            with _in_memory(chain) as chain_file, _in_memory(key) as key_file:
                context.load_cert_chain(
                    chain_file, key_file, lambda: password().reveal() if password else b""
                )
        except (OSError, ssl.SSLError) as problem:
            raise BadInput(
                where=str(mine.chain),
                key=f"with key {mine.key}",
                value=problem.strerror or type(problem).__name__,
                expected="a certificate chain and its key, PEM",
            ) from None


@contextmanager
def _in_memory(octets: bytes) -> Iterator[str]:
    """A name under which OpenSSL, which takes files only, reads these octets from no disk."""
    with os.fdopen(os.memfd_create("trustbox"), "wb", buffering=0) as file:
        file.write(octets)
        yield f"/proc/self/fd/{file.fileno()}"


class TlsConnection:
    """Implements ``Connection`` over an SSLSocket."""

    def __init__(self, secured: ssl.SSLSocket, what: str) -> None:
        self._socket, self._what = secured, what

    @property
    def tls_unique(self) -> bytes | None:
        if self._socket.version() == "TLSv1.3":
            return None  # OpenSSL would give the first Finished all the same: no binding
        return self._socket.get_channel_binding("tls-unique")

    def send(self, data: bytes, *, by: Deadline) -> None:
        view = memoryview(data)
        try:
            while view:
                self._socket.settimeout(by.left(f"{self._what} to take a request"))
                view = view[self._socket.send(view) :]
        except OSError as problem:
            raise _judged(self._what, problem, by) from problem

    def receive(self, most: int, *, by: Deadline) -> bytes:
        try:
            self._socket.settimeout(by.left(f"{self._what} to answer"))
            return self._socket.recv(most)
        except OSError as problem:
            raise _judged(self._what, problem, by) from problem

    def readable(self) -> bool:
        return bool(self._socket.pending() or readable([self._socket.fileno()], 0))

    def close(self) -> None:
        self._socket.close()


def _judged(what: str, problem: BaseException, by: Deadline) -> BaseException:
    """The error of ours that says what an OSError of a TLS socket means; others as they are."""
    match problem:
        case TimeoutError():
            return DeadlineExpired(f"{what} to answer", by.seconds)
        case ssl.SSLCertVerificationError():
            return UntrustedServer(what, problem.verify_message)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return LinkLost(f"{what} ended the connection without a goodbye (close_notify)")
        case ssl.SSLError() if "ALERT" in (problem.reason or ""):
            return refused_in_tls(what, (problem.reason or "").replace("_", " ").lower())
        case OSError():
            return LinkLost(f"the connection with {what} broke: {problem}")
    return problem


def refused_in_tls(what: str, alert: str) -> ServiceRefused:
    """A fatal alert of the server: it is about our certificate far more often than not."""
    return ServiceRefused(
        f"TLS with {what}",
        alert,
        hint="A server says so when it wants a client certificate and got none, or one whose"
        " issuer it does not know, or that has ended.",
    )
