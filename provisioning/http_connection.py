"""A connection to a service: plain bytes here, TLS on the wire; who does the TLS can differ.

``http_tls`` does it in this process with a key in a file or none, ``http_token_tls`` lets OpenSSL
do it, here or on a box, with a key that stays in a token.
"""

from __future__ import annotations

from typing import Protocol

from harness.deadline import Deadline


class Connection(Protocol):
    """Every verb raises LinkLost, DeadlineExpired, ServiceRefused (an alert for our certificate).

    ``receive`` gives b"" only after the far end's own goodbye (close_notify): what ends otherwise
    may have been cut, and is LinkLost.
    """

    def send(self, data: bytes, *, by: Deadline) -> None: ...
    def receive(self, most: int, *, by: Deadline) -> bytes: ...
    def readable(self) -> bool:
        """Whether receive() has something to say at once; on an idle connection: its end."""

    def close(self) -> None: ...

    @property
    def tls_unique(self) -> bytes | None:
        """RFC 5929's binding of this connection; None where there is none (TLS 1.3) or no way."""


class Connector(Protocol):
    """Makes connections, with what it trusts and who it is."""

    def connect(self, host: str, port: int, *, by: Deadline) -> Connection:
        """A finished handshake with a server that proved to be ``host``.

        Raises Unreachable, DeadlineExpired, UntrustedServer, ServiceRefused, LinkLost.
        """
