"""The table [iotedge] of a plan: what IoT Edge on the box is told."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.shown import GIVEN, Said
from provisioning.plan_table import Table

_EST_KEYS = ("server", "label", "trusted", "user", "password_file", "rotate_key")
KEYS = ("identity", "hostname", *_EST_KEYS)
OWN_LABELS = frozenset(
    {
        *("aziot_identityd_master_id", "device-id", "device-id-temp"),
        *("est-id", "est-id-temp", "est-bootstrap-id"),
    }
)
"""What IoT Edge calls keys that it makes in the token when it gets certificates by EST
(iot-identity-service, aziotctl's golden file dps-x509-pkcs11-est-bootstrap/keyd.toml). It looks a
key up by its label before it makes one: one of ours by such a name would become its own."""


@dataclass(frozen=True, slots=True)
class EdgeEst:
    """The EST server that IoT Edge itself gets the box's operational certificate from.

    It shows the certificate that was installed, by the key in the token, or the login.
    """

    server: str
    label: str = ""
    trusted: Path | None = None
    """Roots that may vouch for the server, PEM, put on the box; None: those that the box trusts."""
    login: tuple[str, Path] | None = None
    """User, and the file with the password (0600). Both stand in the box's file in clear."""
    rotate_key: bool = True
    """Whether each renewal makes a new key."""

    @property
    def url(self) -> str:
        """As iot-identity-service wants it: with the path, without the operation."""
        base = f"{self.server.rstrip('/')}/.well-known/est"
        return f"{base}/{self.label}" if self.label else base


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """``hostname`` "": the box's registration id. ``est`` None: the installed certificate."""

    hostname: str = ""
    est: EdgeEst | None = None


def read_edge(table: Table, beside: Path) -> EdgePlan:
    """Raises BadInput, naming file, table and key of the first thing that is wrong."""
    way = table.text("identity", "installed|est", '"installed" or "est"')
    form = r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?"
    hostname = table.optional("hostname", form, "a host name in lower case") or ""
    if way == "est":
        return EdgePlan(hostname, _est(table, beside))
    for name in _EST_KEYS:
        if name in table:
            raise table.wrong(name, GIVEN, 'absent beside identity = "installed"')
    return EdgePlan(hostname)


def check_labels(table: Table, edge: EdgePlan, labels: Iterable[str]) -> None:
    """Raises BadInput when one of our keys would have the name of one of IoT Edge's own."""
    for label in labels:
        if edge.est is not None and label in OWN_LABELS:
            raise table.wrong(
                "identity",
                Said("est"),
                f"to stand beside keys of other purposes than {label}: IoT Edge gives its own keys"
                ' that name and would take this one for its own. purpose = "idevid", say',
            )


def _is_here(server: str) -> bool:
    """Whether it names this machine: a loopback or one of its own addresses, or its host name.

    Asks no name server: what a name means here says nothing about what it means on the box.
    """
    try:
        host = urlsplit(server).hostname or ""
    except ValueError:
        return False  # no address at all, which whoever uses it says
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.rstrip(".").lower()
        own = {"localhost", socket.gethostname().lower()}
        return name in own or name.endswith((".localhost", ".localdomain"))
    return address.is_loopback or address.is_unspecified or _is_own(address)


def _is_own(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Only an address of this machine can be bound to."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as tried:
            tried.bind((str(address), 0))
    except OSError:
        return False
    return True


def _est(table: Table, beside: Path) -> EdgeEst:
    address = r"https://[A-Za-z0-9.:\[\]_/-]{1,300}"
    server = table.text("server", address, "https://host[:port], as the box reaches it")
    if _is_here(server):
        raise table.wrong(
            "server",
            server,
            "a server as the box reaches it, in the field too: localhost is the box itself there,"
            " and this station is not beside it. The station's own services are for the run"
            ' ([enrollment.est] server = "station")',
        )
    user, password = table.login(beside)
    return EdgeEst(
        server,
        label=table.optional("label", r"[A-Za-z0-9_-]{1,64}", "a label (RFC 7030 3.2.2)") or "",
        trusted=table.file("trusted", beside),
        login=(user, password) if user is not None and password is not None else None,
        rotate_key=table.flag("rotate_key", True),
    )
