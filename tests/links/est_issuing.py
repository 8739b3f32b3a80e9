"""An EST server that certifies whatever key it is asked for, with a fault if a test wants one."""

from __future__ import annotations

import base64
from collections.abc import Callable

from cryptography import x509

from provisioning.plan import Plan
from provisioning.run import Outcome, Provisioned
from tests.links.est_asking import p7
from tests.links.est_pki import Pki
from tests.links.est_script import Line, ScriptedServer, answer
from tests.links.host_box import DEVICE, HostBox


class Issuing:
    """A server that certifies whatever key is asked for, with ``spoil`` to make a fault of it.

    ``cacerts``: what it answers when it is asked for its CA certificates; None: its root.
    """

    def __init__(
        self,
        pki: Pki,
        spoil: Callable[[Pki, x509.Certificate], Line] | None,
        *,
        cacerts: Line | None = None,
    ) -> None:
        self._pki, self._spoil, self._cacerts = pki, spoil, cacerts

    def __call__(self, secured: object, request: bytes) -> None:
        head, _, body = request.partition(b"\r\n\r\n")
        line = self._cacerts or answer(p7(self._pki.root))
        if head.startswith(b"POST"):
            asked = x509.load_der_x509_csr(base64.b64decode(body))
            leaf = self._pki.issue(asked.public_key(), DEVICE)
            line = self._spoil(self._pki, leaf) if self._spoil else answer(p7(leaf))
        if isinstance(line, bytes):
            secured.sendall(line)  # type: ignore[attr-defined]
            secured.unwrap()  # type: ignore[attr-defined]
        else:
            line(secured, request)  # type: ignore[arg-type]


def plan_for(box: HostBox, server: ScriptedServer, pki: Pki) -> Plan:
    root = pki.here / "ca.pem"
    return box.plan(
        f'[enrollment.est]\nserver = "{server.url}"\ntrusted = "{root}"\nca = "{root}"\n'
        'profile = "client"\npatience = 1\n'
    )


def posted(server: ScriptedServer) -> list[bytes]:
    return [r.partition(b"\r\n\r\n")[2] for r in server.requests if r.startswith(b"POST")]


def outcome(done: Provisioned, step: str) -> Outcome:
    return next(report.outcome for report in done.reports if report.name == step)
