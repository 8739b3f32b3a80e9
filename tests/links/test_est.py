"""The EST client against libest's estserver, which we did not write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from harness.deadline import Deadline
from harness.errors import Misuse
from harness.secret import Secret
from provisioning.est import WELL_KNOWN, BasicLogin, EstClient
from provisioning.est_answers import Issued, Parked
from provisioning.est_wire import bound_request, request_body
from provisioning.http_client import Http
from provisioning.http_errors import ServiceRefused, UntrustedServer
from provisioning.http_tls import TlsConnector
from provisioning.http_waiting import pause
from tests.links.est_estserver import EstServer, estserver
from tests.links.est_pki import Pki, csr, name, new_key

pytestmark = pytest.mark.slow

DEVICE = "tb-est-0001"
LOGIN = BasicLogin("estuser", lambda: Secret(b"estpwd"))


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EstServer]:
    with estserver(tmp_path_factory.mktemp("estserver"), "-o") as running:
        yield running


def client(server: EstServer, **more: object) -> EstClient:
    options = {"login": LOGIN, **more}
    return EstClient(server.url, TlsConnector(server.pki.text), **options)  # type: ignore[arg-type]


def test_server_tells_its_ca_certificates(server: EstServer, by: Deadline) -> None:
    assert client(server).cacerts(by=by) == (server.pki.root,)


def test_login_and_request_give_a_certificate_for_the_key(server: EstServer, by: Deadline) -> None:
    key = new_key()

    made = client(server).enroll(csr(key, DEVICE), by=by)

    assert isinstance(made, Issued)
    assert made.certificate.public_key() == key.public_key()
    made.certificate.verify_directly_issued_by(server.pki.root)


@pytest.mark.parametrize(
    "login", [None, BasicLogin("estuser", lambda: Secret(b"no"))], ids=["without", "wrong"]
)
def test_login_that_is_not_right_is_refused_at_once(
    server: EstServer, by: Deadline, login: BasicLogin | None
) -> None:
    before = server.issued()

    with pytest.raises(ServiceRefused) as refusal:
        client(server, login=login).enroll(csr(new_key(), DEVICE), by=by)

    assert refusal.value.http_status == 401
    assert server.issued() == before


def test_foreign_ca_certifies_the_same_request_twice(server: EstServer, by: Deadline) -> None:
    """Our own CA would not; so whoever repeats a request has to keep every certificate he saw."""
    request = csr(new_key(), DEVICE)

    first, second = (client(server).enroll(request, by=by) for _ in range(2))

    assert isinstance(first, Issued)
    assert isinstance(second, Issued)
    assert first.certificate.serial_number != second.certificate.serial_number


def test_strict_server_refuses_base64_on_one_line_which_is_why_ours_is_wrapped(
    server: EstServer, by: Deadline
) -> None:
    """RFC 8951 3 allows it; libest does not."""
    http = Http(server.url, TlsConnector(server.pki.text))
    sent = {"content-type": "application/pkcs10", "authorization": LOGIN.header()}
    wrapped = request_body(csr(new_key(), DEVICE))
    statuses = [
        http.request("POST", f"{WELL_KNOWN}/simpleenroll", by=by, headers=sent, body=body).status
        for body in (wrapped.replace(b"\n", b""), wrapped)
    ]
    http.close()

    assert statuses == [400, 200]


def test_server_that_takes_digest_alone_is_told_of(tmp_path: Path, by: Deadline) -> None:
    with estserver(tmp_path, "-h") as digest, pytest.raises(ServiceRefused, match="takes Digest"):
        client(digest, login=None).enroll(csr(new_key(), DEVICE), by=by)


def test_certificate_in_tls_replaces_the_login(server: EstServer, by: Deadline) -> None:
    connector = TlsConnector(server.pki.text, server.pki.identity("bootstrap"))

    made = EstClient(server.url, connector).enroll(csr(new_key(), DEVICE), by=by)

    assert isinstance(made, Issued)


def test_reenrollment_renews_with_the_present_certificate(server: EstServer, by: Deadline) -> None:
    mine = server.pki.identity("renewing")
    present = x509.load_pem_x509_certificate(mine.chain.read_bytes())
    request = csr_like(present)
    connector = TlsConnector(server.pki.text, mine)

    made = EstClient(server.url, connector).reenroll(request, present, by=by)

    assert isinstance(made, Issued)
    assert made.certificate.serial_number != present.serial_number


@pytest.mark.fault(
    "EST",
    "re-enrollment for another subject",
    comes="Misuse, status 2; nobody was asked",
    then="keep the names, or enroll again",
)
def test_reenrollment_for_another_name_is_never_sent(server: EstServer, by: Deadline) -> None:
    """libest would allow it (RFC 7030 4.2.2 does not)."""
    present = server.pki.issue(new_key().public_key(), "one")
    before = server.issued()

    with pytest.raises(Misuse, match="must keep"):
        client(server).reenroll(csr(new_key(), "another"), present, by=by)

    assert server.issued() == before


def test_server_of_another_root_gets_neither_login_nor_request(
    server: EstServer, by: Deadline, tmp_path: Path
) -> None:
    stranger = TlsConnector(Pki.make(tmp_path, "another root").text)
    with pytest.raises(UntrustedServer):
        EstClient(server.url, stranger).cacerts(by=by)
    before = server.issued()
    with pytest.raises(UntrustedServer):
        EstClient(server.url, stranger, login=LOGIN).enroll(csr(new_key(), DEVICE), by=by)
    assert server.issued() == before


def test_approval_by_hand_parks_the_enrollment_and_resuming_ends_it(
    tmp_path: Path, by: Deadline
) -> None:
    """estserver -m: 202 with ``Retry-After: 3600``, then 200 for the same octets."""
    with estserver(tmp_path, "-m", "1") as slow:
        key = new_key()
        parked = client(slow).enroll(csr(key, DEVICE), by=by)
        assert isinstance(parked, Parked)
        again = client(slow).resume(parked, by=by)
        assert again is parked
        kept = Parked.from_json(parked.to_json(), "the file")
        due = Parked(kept.operation, kept.request, until=kept.until.replace(year=2000))
        wait_for_approval(by)

        made = client(slow).resume(due, by=by)

    assert isinstance(made, Issued)
    assert made.certificate.public_key() == key.public_key()


def test_proof_of_possession_bound_to_the_connection_is_accepted(
    tmp_path: Path, by: Deadline
) -> None:
    with estserver(tmp_path, "-t") as strict:
        key = new_key()
        bindable = TlsConnector(strict.pki.text, bindable=True)

        made = EstClient(strict.url, bindable, login=LOGIN).enroll_bound(
            lambda binding: bound_request(key, name(DEVICE), binding), by=by
        )

    assert isinstance(made, Issued)


@pytest.mark.parametrize("binding", [None, bytes(12)], ids=["without", "of another connection"])
def test_request_without_the_right_binding_is_refused(
    tmp_path: Path, by: Deadline, binding: bytes | None
) -> None:
    key = new_key()
    request = csr(key, DEVICE) if binding is None else bound_request(key, name(DEVICE), binding)
    with (
        estserver(tmp_path, "-t") as strict,
        pytest.raises(ServiceRefused, match="Proof of Possession"),
    ):
        client(strict).enroll(request, by=by)


def csr_like(certificate: x509.Certificate) -> bytes:
    """A request for a certificate's names and a new key."""
    alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    builder = x509.CertificateSigningRequestBuilder().subject_name(certificate.subject)
    builder = builder.add_extension(alternative.value, critical=False)
    return builder.sign(new_key(), hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def wait_for_approval(by: Deadline) -> None:
    pause(1.5, "estserver's simulated approval", by=by)
