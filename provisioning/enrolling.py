"""The servers that a plan enrolls with, reached: whose certificates count, EST, DPS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from cryptography import x509

from harness.config_secret import SecretFile
from harness.deadline import Deadline
from harness.errors import BadInput, IntegrityFailure
from provisioning.certificates import ca_fault, check_path, lasts
from provisioning.csr import UNREADABLE, registration_id
from provisioning.dps import DpsDevice
from provisioning.est import BasicLogin, EstClient
from provisioning.http_box import box_connector, station_address
from provisioning.http_tls import FileIdentity, TlsConnector
from provisioning.http_token_tls import TokenTlsConnector
from provisioning.issued import keeping
from provisioning.local_http import LOOPBACK, named_trouble
from provisioning.local_services import ID_SCOPE, ServiceFiles, Services, listening_at
from provisioning.local_trust import why_not
from provisioning.plan import Plan
from provisioning.private_files import read_private
from provisioning.token_public import PublicKey
from provisioning.trusted_files import root_in, roots_in
from provisioning.work import Work, need


@dataclass(frozen=True, slots=True)
class Judge:
    """Whose certificates count. ``above``: known issuers below the root."""

    root: x509.Certificate
    above: tuple[x509.Certificate, ...]
    idevid: bool
    ours: bool
    """Whether the station's CA issues them: then it also knows which ones are revoked."""

    def path(
        self,
        found: x509.Certificate,
        *,
        key: PublicKey,
        serial: str,
        also: tuple[x509.Certificate, ...] = (),
    ) -> tuple[x509.Certificate, ...]:
        """From ``found`` up to, without, the root. Raises IntegrityFailure, naming what is wrong;
        ``also`` are issuers that somebody sent along.
        """
        above = self.above if self.ours else (*self.above, *also)
        return check_path(
            found, key=key, serial=serial, above=above, root=self.root, idevid=self.idevid
        )


def is_ours(plan: Plan) -> bool:
    """Whether the station's CA certifies the box, be it through its EST server."""
    return plan.est is None or plan.est.ca is None


def judge_of(work: Work) -> Judge:
    """Raises BadInput when the plan's ``ca`` cannot be read, or no path can lead to its root."""
    est = work.plan.est
    if est is None or est.ca is None:
        ca = work.authority()
        return Judge(ca.root, (ca.issuing,), idevid=True, ours=True)
    root, below = root_in(est.ca)
    if fault := ca_fault(root):
        expected = "keyUsage with keyCertSign and critical basicConstraints (RFC 5280 4.2.1)"
        raise BadInput(where=str(est.ca), key="the root", value=fault, expected=expected)
    return Judge(root, below, idevid=est.idevid, ours=False)


def serving_path(
    work: Work, chain: tuple[x509.Certificate, ...], judge: Judge
) -> tuple[x509.Certificate, ...] | None:
    """The path of a chain's leaf if it still serves this box, with this key; None otherwise."""
    leaf, key = chain[0], need(work.key, "the key").public_key
    try:
        if judge.ours and why_not(work.authority(), leaf):
            return None
        if not lasts(leaf):
            return None
        return judge.path(leaf, key=key, serial=work.box.target.serial, also=chain[1:])
    except (IntegrityFailure, *UNREADABLE):
        return None


@contextmanager
def est_client(work: Work, *, by: Deadline) -> Iterator[EstClient]:
    """The plan's EST server, asked from this station."""
    est, own = need(work.plan.est, "[enrollment.est]"), None
    if not est.server:
        running = station_services(work, by=by)
        own = running.est
        user, password = running.files.est_login
        url = f"https://localhost:{running.est.port}"
        trusted: str | None = running.trusted
        login: BasicLogin | None = BasicLogin(user, password)
    else:
        url, trusted = est.server, roots_in(est.trusted) if est.trusted else None
        login = None
        if est.login:
            password = SecretFile(est.login[1])
            password()  # one that others may read is refused before anybody is asked
            login = BasicLogin(est.login[0], password)
    identity = FileIdentity(*est.identity) if est.identity else None
    if identity is not None:
        read_private(identity.key)  # refuses one that others may read
    connector = TlsConnector(trusted, identity, bindable=est.proof)
    with (
        named_trouble(own),
        EstClient(
            url,
            connector,
            login=login,
            label=est.label,
            patience=est.patience,
            received=keeping(work),
        ) as client,
    ):
        yield client


@contextmanager
def renewing_client(
    work: Work, present: tuple[x509.Certificate, ...], *, by: Deadline
) -> Iterator[EstClient]:
    """The same server, asked by the box itself, which shows ``present`` by the key in its token.

    Without the plan's login and certificate: those are the line's, and the box's normal world would
    see them.
    """
    est, target, own = need(work.plan.est, "[enrollment.est]"), work.box.target, None
    if not est.server:
        running = station_services(work, by=by)
        own = running.est
        url = f"https://{_at(station_address(target, by=by))}:{running.est.port}"
        trusted: str | None = running.trusted
    else:
        url, trusted = est.server, roots_in(est.trusted) if est.trusted else None
    with (
        named_trouble(own),
        _as_the_box(work, present, trusted, by) as connector,
        EstClient(
            url, connector, label=est.label, patience=est.patience, received=keeping(work)
        ) as client,
    ):
        yield client


@contextmanager
def _as_the_box(
    work: Work, chain: tuple[x509.Certificate, ...], trusted: str | None, by: Deadline
) -> Iterator[TokenTlsConnector]:
    pins = need(work.pins, "the PIN")
    with box_connector(
        work.box.target,
        label=work.plan.token_label,
        key_id=need(work.key, "the key").id,
        chain=chain,
        pin=lambda: pins.user,
        check=partial(work.box.keys.login, work.plan.token_label),
        trusted=trusted,
        by=by,
    ) as connector:
        yield connector


def _at(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@contextmanager
def dps_device(work: Work, *, by: Deadline) -> Iterator[DpsDevice]:
    """The plan's provisioning service, asked by the box itself with the key in its token."""
    dps, chain = need(work.plan.dps, "[enrollment.dps]"), need(work.chain, "the certificate")
    target, own = work.box.target, None
    if not dps.service:
        running, address = station_services(work, by=by), station_address(target, by=by)
        endpoint, scope = f"https://{_at(address)}:{running.dps.port}", ID_SCOPE
        trusted: str | None = running.trusted
        own = running.dps
    else:
        endpoint, scope = dps.service, dps.id_scope
        trusted = roots_in(dps.trusted) if dps.trusted else None
    with (
        _as_the_box(work, chain, trusted, by) as connector,
        DpsDevice(
            scope,
            registration_id(target.serial),
            connector,
            endpoint=endpoint,
            trouble=lambda: own.trouble if own else None,
        ) as device,
    ):
        yield device


def dps_address(work: Work, *, by: Deadline) -> tuple[str, str]:
    """Endpoint and ID scope that the box is told to use from now on.

    Of the station's own: where ``trustbox factory serve`` serves it, also after this run.
    """
    dps = need(work.plan.dps, "[enrollment.dps]")
    if dps.service:
        return dps.service, dps.id_scope
    files = station_services(work, by=by).files
    address = station_address(work.box.target, by=by)
    return f"https://{_at(address)}:{files.ports().dps}", ID_SCOPE


def station_services(work: Work, *, by: Deadline) -> Services:
    """The station's own EST server and provisioning service, running until the run ends."""
    if work.services is None:
        est = work.plan.est
        renews = est is not None and not est.server and est.renew_days > 0
        address = station_address(work.box.target, by=by) if work.plan.dps or renews else ""
        work.services = work.held.enter_context(
            ServiceFiles(work.station.state).serving(
                work.authority,
                days=work.plan.validity_days,
                names=[address] if address else [],
                listen=listening_at(address),
                est_listen=listening_at(address) if renews else LOOPBACK,
                edge=work.plan.edge is not None,
                replaces=work.replaces,
                run=work.run,
            )
        )
    return work.services
