"""This station's own EST server and provisioning service, and what they keep.

::

    <state>/services/     0700
        tls/              their TLS certificate, and root.pem, which their clients trust (local_tls)
        services.json     the ports that they are served at
        est-login         first line: password of user ``factory``, 0600
        dps-key           first line: key of the policy provisioningserviceowner, base64, 0600
        dps.sqlite        enrollments and registrations

Any number of processes may serve the same state at once, each at ports of its own: a run of
``trustbox provision`` does for as long as it lasts, ``trustbox factory serve`` until it is ended.
"""

from __future__ import annotations

import base64
import json
import secrets
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from harness.config_secret import SecretFile
from harness.deadline import Deadline
from harness.errors import Misuse
from harness.secret import Secret
from provisioning.authority import Authority
from provisioning.certificates import pem
from provisioning.local_dps import LocalDps
from provisioning.local_dps_store import DpsStore
from provisioning.local_est import SIGNING_SECONDS, LocalEst
from provisioning.local_http import LOOPBACK
from provisioning.local_tls import TlsFiles
from provisioning.local_trust import why_not
from provisioning.locks import locked
from provisioning.private_files import private_directory, write_durably

EST_USER = "factory"
ID_SCOPE = "0neLOCAL0000"
GROUP = "factory"
_LOCK_SECONDS = 30.0
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where both are served; 0: not chosen yet."""

    est: int = 0
    dps: int = 0


@dataclass(frozen=True, slots=True)
class Services:
    """Both of them, running."""

    est: LocalEst
    dps: LocalDps
    files: ServiceFiles
    trusted: str
    """PEM of the root that vouches for both, as it was when they began."""


@dataclass(frozen=True, slots=True)
class ServiceFiles:
    """``state`` is the station's directory."""

    state: Path

    @property
    def here(self) -> Path:
        return self.state / "services"

    @property
    def tls(self) -> TlsFiles:
        return TlsFiles(self.here / "tls")

    @property
    def est_login(self) -> tuple[str, Callable[[], Secret]]:
        return EST_USER, SecretFile(self.here / "est-login")

    @property
    def dps_key(self) -> Callable[[], Secret]:
        return SecretFile(self.here / "dps-key")

    @property
    def trusted(self) -> str:
        """PEM of the root that vouches for both."""
        return self.tls.root.read_text()

    def ports(self) -> Ports:
        """As they were first chosen."""
        try:
            found = json.loads((self.here / "services.json").read_text())
            return Ports(int(found["est"]), int(found["dps"]))
        except (OSError, ValueError, KeyError, TypeError):
            return Ports()

    def prepare(self, names: Iterable[str]) -> None:
        """Have certificate and secrets."""
        private_directory(self.state)
        private_directory(self.here)
        with locked(
            self.here / "lock",
            "another process that sets the station's services up",
            by=Deadline.after(_LOCK_SECONDS),
        ):
            self.tls.ensure(names)
            for name, made in (
                ("est-login", secrets.token_urlsafe(24)),
                ("dps-key", base64.b64encode(secrets.token_bytes(32)).decode()),
            ):
                if not (self.here / name).exists():
                    write_durably(self.here / name, f"{made}\n".encode())

    @contextmanager
    def serving(
        self,
        authority: Callable[[], Authority],
        *,
        days: int | None,
        names: Iterable[str] = (),
        listen: str = LOOPBACK,
        est_listen: str = "",
        ports: Ports | None = None,
        http: str = "HTTP/1.1",
        signing_seconds: float = SIGNING_SECONDS,
        edge: bool = False,
        replaces: int | None = None,
        run: str = "",
    ) -> Iterator[Services]:
        """Both, until the block ends. ``names``: what else clients call this host.

        ``replaces``, ``run``: of the one run that they serve, see ``LocalEst``.

        ``est_listen``: where EST listens, if not there as well: a run asks it from this host.

        ``edge``: devices of the group become IoT Edge devices from now on.

        ``ports`` None: those that were chosen first, or any where somebody else has them.
        """
        self.prepare(names)
        ca = authority()
        root, both = pem(ca.root).decode(), pem(ca.root, ca.issuing).decode()
        with ExitStack() as held:
            store = DpsStore(self.here / "dps.sqlite")
            held.callback(store.close)

            def est(port: int) -> LocalEst:
                return LocalEst(
                    self.tls.server,
                    authority,
                    login=self.est_login,
                    days=days,
                    trusted=both,  # not every EST client sends its issuer along
                    port=port,
                    listen=est_listen or listen,
                    http=http,
                    signing_seconds=signing_seconds,
                    replaces=replaces,
                    run=run,
                )

            def dps(port: int) -> LocalDps:
                return LocalDps(
                    self.tls.server,
                    trusted=root,
                    key=self.dps_key(),
                    store=store,
                    id_scope=ID_SCOPE,
                    port=port,
                    listen=listen,
                    judge=lambda shown: why_not(authority(), shown),
                )

            usual = self.ports()
            made = Services(
                held.enter_context(est(ports.est) if ports else _somewhere(est, usual.est)),
                held.enter_context(dps(ports.dps) if ports else _somewhere(dps, usual.dps)),
                self,
                self.trusted,
            )
            # A device sends its issuers along, so it is the issuing CA that lets it in.
            made.dps.enrollments.enroll_group(GROUP, ca.issuing, edge=edge)
            if usual == Ports() or ports:
                chosen = {"est": made.est.port, "dps": made.dps.port}
                write_durably(self.here / "services.json", json.dumps(chosen).encode())
            yield made


def listening_at(address: str) -> str:
    """Where to listen for a box that calls this host by ``address``: there, if it is one of this
    host's own; the loopback otherwise, because then something (QEMU) forwards to it.
    """
    try:
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(kind, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return LOOPBACK
    return address


def _somewhere(make: Callable[[int], S], usual: int) -> S:
    try:
        return make(usual)
    except Misuse:
        return make(0)
