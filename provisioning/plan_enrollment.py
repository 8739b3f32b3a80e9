"""The tables of a plan about enrollment: [enrollment.est], [enrollment.dps] and [iotedge].

Each may be left out as a whole; what is there is read as strictly as the rest of a plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import BadInput, Misuse
from harness.shown import GIVEN, HIDDEN
from provisioning.dps_answers import checked_id_scope
from provisioning.est import PATIENCE
from provisioning.plan_edge import KEYS, EdgePlan, check_labels, read_edge
from provisioning.plan_table import Table

STATION = "station"
_URL = r"station|https://[A-Za-z0-9.:\[\]_/-]{1,300}"
_URL_FORM = '"station" or https://host[:port]'


@dataclass(frozen=True, slots=True)
class EstPlan:
    """Which EST server certifies the device key. ``server`` "": this station's own, for the run."""

    server: str
    label: str = ""
    trusted: Path | None = None
    """Roots that may vouch for the server, PEM; None: this host's."""
    ca: Path | None = None
    """The root, PEM, that certificates must lead to; None: the station's CA."""
    login: tuple[str, Path] | None = None
    """User, and the file with the password (0600)."""
    identity: tuple[Path, Path] | None = None
    """The line's own certificate with its issuers, and its key (0600), PEM, for TLS client
    authentication: the station enrolls for boxes, as a registration authority does."""
    patience: float = PATIENCE
    """Longest Retry-After, in seconds, that a run waits for; beyond, it is parked."""
    renew_days: int = 0
    """A certificate that ends within so many days is renewed by simplereenroll; 0: never."""
    proof: bool = False
    """Whether requests carry the TLS connection's tls-unique (RFC 7030 3.5)."""
    idevid: bool = True
    """Whether the certificate must be an IDevID (provisioning.idevid) and not just any client's."""


@dataclass(frozen=True, slots=True)
class DpsPlan:
    """Where the box registers. ``service`` "": this station's own, for the run."""

    service: str
    id_scope: str
    trusted: Path | None = None
    """Roots that may vouch for the service, PEM; None: those that the box trusts."""


def read_enrollment(
    found: Mapping[str, object], where: str, beside: Path, labels: Iterable[str]
) -> tuple[EstPlan | None, DpsPlan | None, EdgePlan | None]:
    """``labels``: of the keys that the plan makes in the token.

    Raises BadInput, naming file, table and key of the first thing that is wrong.
    """
    inner = found.get("enrollment", {})
    if not isinstance(inner, dict):
        raise BadInput(
            where=where, key="enrollment", value=HIDDEN, expected="[enrollment.…] tables"
        )
    for name in inner:
        if name not in ("est", "dps"):
            expected = "no such table; known are enrollment.est, enrollment.dps"
            raise BadInput(where=where, key=f"[enrollment.{name}]", value=HIDDEN, expected=expected)
    est = _est(_table(inner, "est", where), beside) if "est" in inner else None
    dps = _dps(_table(inner, "dps", where), beside) if "dps" in inner else None
    edge = None
    if "iotedge" in found:
        table = Table(where, "iotedge", found["iotedge"], KEYS)
        edge = read_edge(table, beside)
        check_labels(table, edge, labels)
        if dps is None:
            raise table.wrong("identity", GIVEN, "to stand beside [enrollment.dps]")
    return est, dps, edge


_KEYS = {
    "est": (
        *("server", "label", "trusted", "ca", "user", "password_file", "chain", "key"),
        *("patience", "profile", "renew_days", "proof"),
    ),
    "dps": ("service", "id_scope", "trusted"),
}


def _table(inner: Mapping[str, object], name: str, where: str) -> Table:
    return Table(where, f"enrollment.{name}", inner[name], _KEYS[name])


def _est(table: Table, beside: Path) -> EstPlan:
    server = table.text("server", _URL, _URL_FORM)
    patience = table.seconds("patience", PATIENCE)
    renew = table.number("renew_days", 1, 3650) if "renew_days" in table else 0
    if server == STATION:
        _alone(table, "server", _KEYS["est"], but=("server", "patience", "renew_days"))
        return EstPlan("", patience=patience, renew_days=renew)
    proof = table.optional("proof", "tls-unique", '"tls-unique"') is not None
    if proof and renew:
        # The box's OpenSSL makes the handshake of a renewal, and does not tell the binding.
        raise table.wrong("proof", "tls-unique", "absent beside renew_days")
    ca = table.file("ca", beside)
    if ca is None:
        raise table.wrong("ca", None, "the root, PEM, that the server's certificates lead to")
    user, password = table.login(beside)
    chain, key = table.file("chain", beside), table.file("key", beside)
    if (chain is None) != (key is None):
        raise table.wrong("chain" if chain is None else "key", None, "chain and key, or neither")
    return EstPlan(
        server,
        label=table.optional("label", r"[A-Za-z0-9_-]{1,64}", "a label (RFC 7030 3.2.2)") or "",
        trusted=table.file("trusted", beside),
        ca=ca,
        login=(user, password) if user is not None and password is not None else None,
        identity=(chain, key) if chain is not None and key is not None else None,
        patience=patience,
        renew_days=renew,
        proof=proof,
        idevid=(table.optional("profile", "idevid|client", '"idevid" or "client"') or "idevid")
        == "idevid",
    )


def _dps(table: Table, beside: Path) -> DpsPlan:
    service = table.text("service", _URL, _URL_FORM)
    if service == STATION:
        _alone(table, "service", _KEYS["dps"], but=("service",))
        return DpsPlan("", "")
    scope = table.text("id_scope", r".+", "the service's ID scope")
    try:
        checked_id_scope(scope)
    except Misuse:
        raise table.wrong("id_scope", scope, "letters and digits, such as 0ne00000000") from None
    return DpsPlan(service.rstrip("/"), scope, table.file("trusted", beside))


def _alone(table: Table, key: str, keys: tuple[str, ...], *, but: tuple[str, ...]) -> None:
    for name in keys:
        if name not in but and name in table:
            raise table.wrong(name, GIVEN, f'absent beside {key} = "station"')
