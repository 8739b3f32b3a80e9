"""A file that says whom to trust is whole, or it trusts nobody and is refused."""

from __future__ import annotations

import datetime
import socket
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from harness.deadline import Deadline
from harness.errors import BadInput
from harness.ready import readable
from harness.secret import Secret
from provisioning.cli.enroll_options import Client
from provisioning.http_place import HostPlace
from provisioning.http_tls import TlsConnector
from provisioning.http_token_tls import TokenIdentity, TokenTlsConnector
from provisioning.iotedge_uri import Pkcs11Uri
from provisioning.local_http_tls import ServerFiles, ServerTls
from provisioning.trusted_files import certificates_in, roots_in

KEY = ec.generate_private_key(ec.SECP256R1())
KEY_PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()


def root(name: str) -> str:
    title = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .issuer_name(title)
        .subject_name(title)
        .public_key(KEY.public_key())
        .serial_number(7)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(KEY, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


ONE, TWO = root("one"), root("two")
BAD = {
    "empty": "",
    "blank": "\n \r\n",
    "cut in the first": ONE[:200],
    "cut in the second": ONE + TWO[:200],
    "without its first line": ONE.partition("\n")[2],
    "without a line end at the cut": ONE + TWO.rpartition("-----END")[0],
    "text after the last": ONE + "and so on\n",
    "octets changed": ONE.replace("MII", "AAA", 1),
    "no certificate": KEY_PEM,
    "no PEM": "trust me\n",
}


@pytest.fixture(params=BAD)
def bad(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    place = tmp_path / "trusted.pem"
    place.write_text(BAD[request.param])
    return place


@pytest.mark.fault(
    "Files",
    "the file that says whom to trust (a plan's trusted or ca, --trusted) is empty or was cut",
    comes="BadInput, status 2, naming the file, before anybody is connected to; nobody is trusted",
    then="put the server's root certificates there again, PEM",
)
def test_a_file_that_is_not_whole_is_refused_with_its_name(bad: Path) -> None:
    for read in (roots_in, certificates_in):
        with pytest.raises(BadInput, match=r"expected (roots|certificates)") as caught:
            read(bad)
        assert caught.value.where == str(bad)


def test_nobody_is_connected_to_with_a_trust_file_that_is_not_whole(bad: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with (
            pytest.raises(BadInput),
            Client(bad).connector() as connector,
        ):
            connector.connect("127.0.0.1", port, by=Deadline.after(10))
        with pytest.raises(BadInput):
            TlsConnector(bad.read_text()).connect("127.0.0.1", port, by=Deadline.after(10))

        assert not readable([listening.fileno()], 0)


def test_openssl_is_not_started_with_a_trust_file_that_is_not_whole(bad: Path) -> None:
    """Its s_client takes the system's roots as well unless it is told otherwise."""
    place = HostPlace()
    identity = TokenIdentity(
        chain=ONE,
        key=Pkcs11Uri(token="t"),
        module="/m.so",
        pin=lambda: Secret(b"1234"),
        check=lambda pin, by: None,
    )
    try:
        with pytest.raises(BadInput):
            TokenTlsConnector(place, identity, bad.read_text())
    finally:
        place.close()


def test_a_server_of_ours_does_not_begin_with_cas_that_are_not_whole(
    bad: Path, tmp_path: Path
) -> None:
    """Nobody would be let in, or whoever the rest lets in."""
    (tmp_path / "server.pem").write_text(ONE)
    (tmp_path / "server.key").write_text(KEY_PEM)
    files = ServerFiles(tmp_path / "server.pem", tmp_path / "server.key")

    ServerTls(files, ONE, must_show=True)
    with pytest.raises(BadInput, match="the CAs of clients"):
        ServerTls(files, bad.read_text(), must_show=True)


@pytest.mark.parametrize(
    "text",
    [ONE + TWO, "one root\n" + ONE + "another\n" + TWO, ONE + KEY_PEM + TWO + "\n\n"],
    ids=["two", "with their names", "a key between"],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_all_certificates_of_a_whole_file_are_taken_and_nothing_else(
    tmp_path: Path, text: str, end: str
) -> None:
    place = tmp_path / "trusted.pem"
    place.write_bytes(text.replace("\n", end).encode())

    assert roots_in(place) == ONE + TWO
    assert len(certificates_in(place)) == 2


def test_a_file_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    place = tmp_path / "trusted.pem"
    place.write_text(ONE * 4000)

    with pytest.raises(BadInput, match="at most 1048576 octets"):
        roots_in(place)
