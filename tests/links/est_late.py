"""A server that asks for the client's certificate after the handshake (RFC 8446 4.6.2)."""

from __future__ import annotations

import ssl

from harness.ready import readable
from tests.links.est_script import answer


def asking_late(secured: ssl.SSLSocket, request: bytes) -> None:
    """A web server with a rule for this path: it asks for the certificate having seen the path."""
    try:
        secured.verify_client_post_handshake()
    except ssl.SSLError:  # the client does not do that
        secured.sendall(answer(b"no certificate", status="403 Forbidden"))
        return
    secured.do_handshake()
    secured.setblocking(False)
    while not secured.getpeercert():
        assert readable([secured.fileno()], 20)
        try:
            secured.recv(1)
        except ssl.SSLWantReadError:
            continue
    secured.settimeout(20)
    names = str((secured.getpeercert() or {}).get("subject"))
    secured.sendall(answer(names.encode(), status="418 Seen"))
