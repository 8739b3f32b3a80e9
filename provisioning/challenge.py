"""A server of this station's that a box proves itself to: mutual TLS and a fresh nonce."""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections.abc import Callable

from cryptography import x509

from provisioning.certificates import der
from provisioning.local_http import LOOPBACK, Asked, LocalServer, ServerFiles, Told, said


class ChallengeServer(LocalServer):
    """Takes only clients whose certificate leads to ``trusted`` (PEM), and remembers who said what.

    That a nonce of ours came over a connection of that certificate's is the proof: TLS had the
    client sign the handshake (RFC 8446 4.4.3) and what came after is of the same connection.
    ``judge`` says why a certificate does not count all the same, "" if it does.
    """

    def __init__(
        self,
        files: ServerFiles,
        *,
        trusted: str,
        judge: Callable[[x509.Certificate], str],
        listen: str = LOOPBACK,
    ) -> None:
        super().__init__(files, trusted=trusted, listen=listen, must_show=True)
        self._judge = judge
        self.nonce = secrets.token_hex(32)
        self.refused = ""
        """What ``judge`` said of the last certificate that does not count."""
        self._turn = threading.Lock()
        self._heard: set[tuple[str, str]] = set()

    @property
    def path(self) -> str:
        return f"/challenge/{self.nonce}"

    def answer(self, asked: Asked) -> Told:
        match = re.fullmatch(r"/challenge/([0-9a-f]{64})", asked.path)
        if match is None or not asked.chain:
            return Told.json(404, {"message": "a challenge and nothing else"})
        if no := self._judge(asked.chain[0]):
            self.refused = no
            return said(403, no)
        with self._turn:
            self._heard.add((match[1], hashlib.sha256(der(asked.chain[0])).hexdigest()))
        return Told.json(200, {"nonce": match[1]})

    def heard_from(self, certificate_sha256: str) -> bool:
        """Whether the holder of this certificate (SHA-256 of DER, hex) said our nonce."""
        with self._turn:
            return (self.nonce, certificate_sha256) in self._heard
