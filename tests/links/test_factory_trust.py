"""Who shows a certificate to the station's own servers: what counts is that this CA issued it.

The attack of the old issuing key: its thief certifies himself under the same root, and asks the
new station.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from harness.deadline import Deadline
from provisioning.authority import Authority
from provisioning.authority_open import StationCa
from provisioning.certificates import pem
from provisioning.csr import device_subject, registration_id
from provisioning.dps import DpsDevice
from provisioning.est import EstClient
from provisioning.est_answers import Issued
from provisioning.http_errors import ServiceBusy, ServiceRefused
from provisioning.http_tls import FileIdentity, TlsConnector
from provisioning.local_services import ID_SCOPE, ServiceFiles, Services
from tests.links.ca_hsm import Factory
from tests.links.est_pki import Key, new_key, write_key
from tests.typed import trustbox

pytestmark = pytest.mark.slow
SERIAL = "TB-0007"


@dataclass(frozen=True)
class Line:
    """Two stations with an issuing CA each under one root; the second one serves."""

    old: Authority
    new: Authority
    files: ServiceFiles
    running: Services
    place: Path

    def identity(self, key: Key, leaf: x509.Certificate, above: x509.Certificate) -> FileIdentity:
        chain, private = self.place / "shown.pem", self.place / "shown.key"
        chain.write_bytes(pem(leaf, above))
        write_key(private, key)
        return FileIdentity(chain, private)

    def asks_est(self, shown: FileIdentity, key: Key, by: Deadline) -> Issued:
        url = f"https://localhost:{self.running.est.port}"
        with EstClient(url, TlsConnector(self.files.trusted, shown)) as client:
            made = client.enroll(request(key), by=by)
        assert isinstance(made, Issued)
        return made

    def asks_dps(self, shown: FileIdentity, by: Deadline) -> str:
        url = f"https://localhost:{self.running.dps.port}"
        connector, name = TlsConnector(self.files.trusted, shown), registration_id(SERIAL)
        with DpsDevice(ID_SCOPE, name, connector, endpoint=url) as device:
            return device.register(by=by).group


def request(key: Key) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(device_subject(SERIAL))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture
def line(
    set_up: Factory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: Deadline
) -> Iterator[Line]:
    """As docs/factory-ca.md has it for an issuing CA that was lost, but for the boxes."""
    monkeypatch.setenv("SOFTHSM2_CONF", set_up.environment["SOFTHSM2_CONF"])
    state = set_up.place / "new"
    done = trustbox(
        *("ca", "init", "--state", str(state), "--root-token", set_up.uri("Root CA")),
        *("--issuing-token", set_up.uri("Line CA", id=b"\x02")),
    )
    assert done.status == 0, done.err
    files = ServiceFiles(state)
    with (
        StationCa(set_up.state).opened(by=by) as old,
        StationCa(state).opened(by=by) as new,
        files.serving(lambda: new, days=30) as running,
    ):
        assert old.root.public_key() == new.root.public_key()
        assert old.issuing.public_key() != new.issuing.public_key()
        yield Line(old, new, files, running, tmp_path)


@pytest.mark.fault(
    "Services",
    "somebody shows a certificate of another issuing CA under the same root (of the stolen one)",
    comes="EST: HTTP 403, DPS: 401; nothing is signed, nobody is registered",
    then="nothing at the station; whoever holds such a key is no box of its",
)
def test_certificate_of_another_issuing_ca_under_the_root_is_no_login(
    line: Line, by: Deadline
) -> None:
    thief = new_key()
    minted = line.old.certify(request(thief), SERIAL, days=None, by=by)
    shown = line.identity(thief, minted, line.old.issuing)
    before = line.new.index.counts()

    with pytest.raises(ServiceRefused, match="did not issue the certificate") as no:
        line.asks_est(shown, thief, by)
    with pytest.raises(ServiceRefused, match="did not issue the certificate"):
        line.asks_dps(shown, by)

    assert no.value.http_status == 403
    assert line.new.index.counts() == before
    assert line.running.dps.store.registration(registration_id(SERIAL)) is None


@pytest.mark.fault(
    "Services",
    "a box shows a certificate as its login that was revoked, or whose key or issuing CA was, or"
    " that stands on the list to revoke",
    comes="EST: HTTP 403, DPS: 401002; nothing is signed, nobody is registered",
    then="nothing at the station; the box needs another key and certificate",
    case="F-06",
)
@pytest.mark.parametrize("what", ["it", "its key", "the issuing CA", "to revoke"])
def test_certificate_that_was_revoked_is_let_in_by_no_server(
    line: Line, by: Deadline, what: str
) -> None:
    key, ca = new_key(), line.new
    first = ca.certify(request(key), SERIAL, days=30, by=by)
    leaf = first
    if what == "its key":
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        builder = x509.CertificateSigningRequestBuilder().subject_name(device_subject(SERIAL))
        again = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
        octets = again.public_bytes(Encoding.DER)
        leaf, _ = ca.issue(octets, SERIAL, days=30, by=by, again=names)
    shown = line.identity(key, leaf, ca.issuing)
    assert line.asks_dps(shown, by) == "factory"
    if what == "the issuing CA":
        with StationCa(ca.state.parent).root_key(by=by) as root:
            root.revoke_issuing("cACompromise", by=by)
    elif what == "to revoke":
        ca.to_revoke(leaf, "its box was tampered with", by=by)
    else:
        ca.revoke(first.serial_number, "keyCompromise", by=by)

    with pytest.raises(ServiceRefused, match="revoked") as est:
        line.asks_est(shown, key, by)
    with pytest.raises(ServiceRefused, match="revoked") as dps:
        line.asks_dps(shown, by)

    assert (est.value.http_status, dps.value.code) == (403, "401002")


def test_certificate_that_a_box_shows_counts_as_read_back_from_it(line: Line, by: Deadline) -> None:
    key, ca = new_key(), line.new
    leaf = ca.certify(request(key), SERIAL, days=30, by=by)
    before = ca.index.get(leaf.serial_number)

    line.asks_est(line.identity(key, leaf, ca.issuing), key, by)

    after = ca.index.get(leaf.serial_number)
    assert before is not None
    assert after is not None
    assert (before.status, after.status) == ("unfinished", "active")


@pytest.mark.fault(
    "Services",
    "the CA's index is lost while trustbox factory serve runs",
    comes="HTTP 500 with the cause, to everybody; nothing is signed, nobody registers",
    then="bring the index back (trustbox ca recover)",
    case="F-01",
)
def test_servers_let_nobody_in_while_the_index_is_lost(line: Line, by: Deadline) -> None:
    key, ca = new_key(), line.new
    shown = line.identity(key, ca.certify(request(key), SERIAL, days=30, by=by), ca.issuing)
    kept = ca.index.path.rename(line.place / "index")

    with pytest.raises(ServiceBusy, match="500"):
        line.asks_est(shown, key, by)
    with pytest.raises(ServiceBusy, match="500"):
        line.asks_dps(shown, Deadline.after(2))

    assert not ca.index.path.exists()
    kept.rename(ca.index.path)
    assert line.asks_dps(shown, by) == "factory"
