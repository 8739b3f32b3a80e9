"""The station's own EST server, asked by libest's client, which we did not write, and by ours."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from harness.deadline import Deadline
from harness.secret import Secret
from provisioning.authority import Authority
from provisioning.certificates import check_issued, pem
from provisioning.csr import device_subject
from provisioning.est import BasicLogin, EstClient
from provisioning.est_answers import Issued
from provisioning.http_errors import ServiceRefused, UntrustedServer
from provisioning.http_tls import FileIdentity, TlsConnector
from provisioning.local_services import EST_USER, ServiceFiles, Services
from provisioning.station import Station
from tests.links.est_pki import Key, new_key, write_key
from tests.links.peers import libest

pytestmark = pytest.mark.slow
SERIAL = "TB-EST-0001"


@dataclass(frozen=True)
class Factory:
    """A station with a CA in SoftHSM2, and its services, which speak HTTP/1.0 for libest."""

    authority: Authority
    files: ServiceFiles
    running: Services

    @property
    def url(self) -> str:
        return f"https://localhost:{self.running.est.port}"

    def client(self, *, identity: FileIdentity | None = None, login: bool = True) -> EstClient:
        user, password = self.files.est_login
        mine = BasicLogin(user, password) if login else None
        return EstClient(self.url, TlsConnector(self.files.trusted, identity), login=mine)


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    state = tmp_path_factory.mktemp("station")
    files = ServiceFiles(state)
    with (
        Station(state).authority(make=True, by=Deadline.after(60)) as ca,
        files.serving(lambda: ca, days=30, http="HTTP/1.0") as running,
    ):
        yield Factory(ca, files, running)


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


def request(key: Key, serial: str, names: x509.SubjectAlternativeName | None = None) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(device_subject(serial))
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


def enrolled(factory: Factory, key: Key, serial: str, by: Deadline) -> x509.Certificate:
    with factory.client() as client:
        made = client.enroll(request(key, serial), by=by)
    assert isinstance(made, Issued)
    return made.certificate


def identity(factory: Factory, place: Path, key: Key, leaf: x509.Certificate) -> FileIdentity:
    (place / "leaf.pem").write_bytes(pem(leaf, factory.authority.issuing))
    write_key(place / "leaf.key", key)
    return FileIdentity(place / "leaf.pem", place / "leaf.key")


def estclient(factory: Factory, place: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    peer = libest()
    return subprocess.run(
        [
            *(str(peer.program("estclient")), *words, "-o", str(place)),
            *("-s", "localhost", "-p", str(factory.running.est.port), "--pem-output"),
        ],
        env={
            **os.environ,
            "LD_LIBRARY_PATH": str(peer.libraries),
            "EST_OPENSSL_CACERT": str(factory.files.tls.root),
        },
        cwd=place,
        capture_output=True,
        check=False,
        timeout=60,
    )


def password(factory: Factory) -> str:
    return factory.files.est_login[1]().reveal().decode()


def test_libests_client_is_given_a_boxs_certificate(factory: Factory, tmp_path: Path) -> None:
    key = new_key()
    text = x509.load_der_x509_csr(request(key, "TB-EST-0100")).public_bytes(Encoding.PEM)
    (tmp_path / "box.csr").write_bytes(text)

    done = estclient(
        factory, tmp_path, "-e", "-y", "box.csr", "-u", EST_USER, "-h", password(factory)
    )

    made = [x509.load_pem_x509_certificate(p.read_bytes()) for p in tmp_path.glob("cert-*.pem")]
    assert len(made) == 1, done.stdout + done.stderr
    ca = factory.authority
    check_issued(
        made[0], key=key.public_key(), serial="TB-EST-0100", issuing=ca.issuing, root=ca.root
    )


def test_libests_client_without_the_login_is_given_nothing(
    factory: Factory, tmp_path: Path
) -> None:
    write_key(tmp_path / "box.key", new_key())
    before = factory.authority.index.counts()

    done = estclient(factory, tmp_path, "-e", "-x", "box.key", "-u", EST_USER, "-h", "wrong")

    assert list(tmp_path.glob("cert-*")) == [], done.stdout
    assert factory.authority.index.counts() == before


def test_ca_certificates_need_no_login(factory: Factory, by: Deadline) -> None:
    with factory.client(login=False) as client:
        assert client.cacerts(by=by) == (factory.authority.issuing, factory.authority.root)
        assert client.wanted(by=by) == ()


def test_same_request_again_is_given_the_same_certificate(factory: Factory, by: Deadline) -> None:
    key = new_key()

    first, again = (enrolled(factory, key, "TB-EST-0101", by) for _ in range(2))

    assert first == again


def test_reenrollment_by_the_boxs_own_certificate_is_given_a_new_one(
    factory: Factory, tmp_path: Path, by: Deadline
) -> None:
    key = new_key()
    old = enrolled(factory, key, SERIAL, by)
    names = old.extensions.get_extension_for_class(x509.SubjectAlternativeName).value

    with factory.client(identity=identity(factory, tmp_path, key, old), login=False) as client:
        made = client.reenroll(request(key, SERIAL, names), old, by=by)

    assert isinstance(made, Issued)
    assert made.certificate.serial_number != old.serial_number
    assert made.certificate.public_key() == old.public_key()


@pytest.mark.parametrize(
    ("name", "said"),
    [("TB-EST-0300", "not the certificate of TB-EST-0300"), ("", "which box is it for")],
    ids=["another box", "nobody"],
)
def test_box_cannot_enroll_another_one(
    factory: Factory, tmp_path: Path, by: Deadline, name: str, said: str
) -> None:
    key, own = new_key(), "TB-EST-0103" if name else "TB-EST-0107"
    mine = identity(factory, tmp_path, key, enrolled(factory, key, own, by))
    subject = device_subject(name) if name else x509.Name([])
    asked = x509.CertificateSigningRequestBuilder().subject_name(subject)
    octets = asked.sign(new_key(), hashes.SHA256()).public_bytes(Encoding.DER)

    with (
        factory.client(identity=mine, login=False) as client,
        pytest.raises(ServiceRefused, match=said),
    ):
        client.enroll(octets, by=by)


def test_revoked_box_is_let_in_no_more(factory: Factory, tmp_path: Path, by: Deadline) -> None:
    key = new_key()
    leaf = enrolled(factory, key, "TB-EST-0104", by)
    mine = identity(factory, tmp_path, key, leaf)
    factory.authority.revoke(leaf.serial_number, "keyCompromise", by=by)

    with (
        factory.client(identity=mine, login=False) as client,
        pytest.raises(ServiceRefused, match="was revoked"),
    ):
        client.enroll(request(key, "TB-EST-0104"), by=by)


@pytest.mark.parametrize("given", [None, b"wrong"], ids=["no login", "another password"])
def test_stranger_is_refused_and_nothing_is_signed(
    factory: Factory, by: Deadline, given: bytes | None
) -> None:
    login = BasicLogin(EST_USER, lambda: Secret(given)) if given else None
    before = factory.authority.index.counts()

    with (
        EstClient(factory.url, TlsConnector(factory.files.trusted), login=login) as client,
        pytest.raises(ServiceRefused, match="401") as no,
    ):
        client.enroll(request(new_key(), "TB-EST-0105"), by=by)

    assert no.value.http_status == 401
    assert factory.authority.index.counts() == before


def test_request_that_the_ca_refuses_is_told_why(factory: Factory, by: Deadline) -> None:
    asked = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(device_subject("TB-EST-0106"))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(new_key(), hashes.SHA256())
    )

    with factory.client() as client, pytest.raises(ServiceRefused, match="asks for extensions"):
        client.enroll(asked.public_bytes(Encoding.DER), by=by)


def test_its_tls_keys_and_secrets_are_private(
    factory: Factory,
) -> None:
    here = factory.files.here
    private = ["est-login", "dps-key", "dps.sqlite", "tls/server.key", "tls/root.key"]
    assert {(here / name).stat().st_mode & 0o777 for name in private} == {0o600}
    assert sorted(p.name for p in (here / "tls").iterdir()) == [
        "root.key",
        "root.pem",
        "server.key",
        "server.pem",
    ]


def test_client_that_trusts_another_root_does_not_speak_to_it(
    factory: Factory, by: Deadline
) -> None:
    other = pem(factory.authority.root).decode()
    with EstClient(factory.url, TlsConnector(other)) as client, pytest.raises(UntrustedServer):
        client.cacerts(by=by)
