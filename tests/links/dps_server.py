"""The local provisioning service with faults: each request takes the next scripted one, if any."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cryptography import x509

from harness.secret import Secret
from provisioning.local_dps import HUB, LocalDps
from provisioning.local_http import Asked, ServerFiles, Told
from tests.links.est_pki import Pki

__all__ = ["HUB", "KEY", "DpsServer", "Fault"]

KEY = b"cGxhbnRlZC1zaGFyZWQtYWNjZXNzLWtleS0wMTIzNDU2"


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

    def told(self) -> Told:
        if self.cut:
            return Told(0, cut=True)
        body = _error(self.code or self.status * 1000) if self.body is None else self.body
        octets = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"content-type": "application/json; charset=utf-8"}
        return Told(self.status, octets, {**kind, **self.headers})


class DpsServer(LocalDps):
    """``with DpsServer(pki) as server``; ``outcome`` changes what devices are assigned."""

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
        files = ServerFiles(pki.here / "server.pem", pki.here / "server.key")
        super().__init__(
            files,
            trusted=trusted or pki.text,
            key=Secret(KEY),
            polls=polls,
            retry_after=retry_after,
            port=port,
        )
        self.pki = pki
        self.url = f"https://localhost:{self.port}"
        self.outcome = dict(outcome or {})
        self.faults = list(faults)
        self.requests: list[str] = []
        self.subjects: list[str] = []
        self.open = False
        """Whether devices need no enrollment (for tests of the device's side alone)."""
        self._turn = threading.Lock()

    def answer(self, asked: Asked) -> Told:
        line = f"{asked.method} {asked.path}"
        with self._turn:
            self.requests.append(line)
            fault = next((fault for fault in self.faults if fault.only in line), None)
            if fault is not None:
                self.faults.remove(fault)
                return fault.told()
            if asked.chain and "/registrations/" in asked.path:
                self.subjects.append(asked.chain[0].subject.rfc4514_string())
            return super().answer(asked)

    def refuses(self, device: str, asked: Asked) -> str:
        why_not = super().refuses(device, asked)
        return "" if self.open and why_not.startswith("CA ") else why_not

    def state_of(self, device: str, chain: tuple[x509.Certificate, ...]) -> dict[str, object]:
        return {**super().state_of(device, chain), **self.outcome}

    def assigned(self, device: str) -> None:
        """Say assigning no more."""
        known = self.store.registration(device)
        assert known is not None
        self.store.register(device, replace(known, polls_left=0))


def _error(code: int) -> dict[str, object]:
    return {
        "errorCode": code,
        "trackingId": "7f0c1e34-0000-4000-8000-c0ffee000001",
        "message": f"scripted {code // 1000}",
        "timestampUtc": "2026-01-01T00:00:00.0Z",
    }
