"""Certificates, requests and keys are read as people have them, by one reader each."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from harness.errors import BadInput
from provisioning.certificates import pem
from provisioning.cli.enroll_options import Client
from provisioning.eat_key import signer_key
from provisioning.enclave_signer import FileSigner, read_public_key
from provisioning.key_files import private_pem_in, public_key_in
from provisioning.request_files import request_in
from provisioning.trusted_files import certificates_in, chain_in, root_in, roots_in
from tests.links.est_pki import Pki, csr, new_key

KEY = new_key()
DER = csr(KEY, "tb-0042")
REQUEST = x509.load_der_x509_csr(DER).public_bytes(serialization.Encoding.PEM)
KEY_PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
AS_PEOPLE_HAVE_IT: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda text: text,
    "accents": lambda text: "# Autorité de la ligne\n".encode() + text,
    "mark": lambda text: b"\xef\xbb\xbf" + text,
    "CRLF": lambda text: text.replace(b"\n", b"\r\n"),
    "CR": lambda text: text.replace(b"\n", b"\r"),
    "bag": lambda text: b"Bag Attributes\n    friendlyName: box\nKey Attributes: <No>\n" + text,
    "-text": lambda text: b"Certificate Request:\n    Data:\n        Version: 1 (0x0)\n" + text,
    "no last line end": lambda text: text.rstrip(b"\n"),
}


@pytest.fixture(params=AS_PEOPLE_HAVE_IT)
def lived(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    return AS_PEOPLE_HAVE_IT[request.param]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki.make(tmp_path_factory.mktemp("pki"))


def test_trusted_certificates_are_read_as_people_have_them(
    tmp_path: Path, pki: Pki, lived: Callable[[bytes], bytes]
) -> None:
    place = tmp_path / "roots.pem"
    place.write_bytes(lived(pki.text.encode()))

    assert roots_in(place) == pki.text
    with Client(place).connector() as connector:
        assert getattr(connector, "trusted", None) == pki.text


def test_requests_are_read_as_people_have_them(
    tmp_path: Path, lived: Callable[[bytes], bytes]
) -> None:
    place = tmp_path / "box.csr"
    place.write_bytes(lived(REQUEST))

    assert request_in(place) == DER


@pytest.mark.parametrize(
    "octets",
    [DER, REQUEST.replace(b"CERTIFICATE", b"NEW CERTIFICATE"), KEY_PEM + REQUEST],
    ids=["DER", "new", "with its key"],
)
def test_requests_of_another_form_and_of_stdin_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, octets: bytes
) -> None:
    place = tmp_path / "box.csr"
    place.write_bytes(octets)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(octets)))

    assert request_in(place) == request_in(Path("-")) == DER


@pytest.mark.fault(
    "Files",
    "a request's file that is empty, cut, of another kind, in UTF-16, or has two of them",
    comes="BadInput (2): the file's name and what was found in it; nothing was asked of anybody",
    then="give the file that openssl req or trustbox keys request wrote",
)
@pytest.mark.parametrize(
    ("octets", "found"),
    [
        (b"", r"\(empty\)"),
        (REQUEST[:200], "cut"),
        (b"".join(REQUEST.splitlines(keepends=True)[1:-1]), "base64 without its BEGIN and END"),
        (KEY_PEM, r"\(PRIVATE KEY\)"),
        (REQUEST + REQUEST, "2 of them"),
        (REQUEST.decode().encode("utf-16"), "UTF-16"),
        (b"# Autorit\xe9\n" + REQUEST, "not UTF-8"),
        (DER[:-1], "cannot be read"),
        (REQUEST.replace(b"MI", b"AA", 1), "cannot be read"),
        (b"#" * 70000, "at most"),
    ],
    ids=[
        "empty", "cut", "bare", "a key", "two", "UTF-16", "Latin-1", "DER, cut", "changed", "large"
    ],
)  # fmt: skip
def test_a_request_that_is_none_is_named_with_what_it_is(
    tmp_path: Path, octets: bytes, found: str
) -> None:
    place = tmp_path / "box.csr"
    place.write_bytes(octets)

    with pytest.raises(BadInput, match=found) as caught:
        request_in(place)
    assert caught.value.where == str(place)


@pytest.mark.fault(
    "Files",
    "a trust file in Latin-1 or UTF-16, in OpenSSL's TRUSTED form, in PKCS#7, or with no PEM lines",
    comes="BadInput (2), naming the file and its form, before anybody is connected to",
    then="save it as UTF-8, or convert it with the command that the error names",
)
@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda text: b"# Autorit\xe9\n" + text, "not UTF-8"),
        (lambda text: text.decode().encode("utf-16"), "UTF-16"),
        (lambda text: text.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE"), "TRUSTED.*x509 -in"),
        (lambda text: text.replace(b"CERTIFICATE", b"PKCS7"), "PKCS7.*-print_certs"),
        (lambda text: b"".join(text.splitlines(keepends=True)[1:-1]), "without its BEGIN and END"),
        (lambda text: DER, "DER, but no certificate"),
    ],
)
def test_certificates_of_another_form_are_named_as_what_they_are(
    tmp_path: Path, pki: Pki, change: Callable[[bytes], bytes], found: str
) -> None:
    place = tmp_path / "roots.pem"
    place.write_bytes(change(pki.text.encode()))

    with pytest.raises(BadInput, match=found) as caught:
        roots_in(place)
    assert caught.value.where == str(place)


def test_one_certificate_in_der_is_that_certificate(tmp_path: Path, pki: Pki) -> None:
    place = tmp_path / "root.der"
    place.write_bytes(pki.root.public_bytes(serialization.Encoding.DER))

    assert certificates_in(place) == (pki.root,)


def test_a_chain_is_found_in_any_order_and_its_root_as_well(tmp_path: Path, pki: Pki) -> None:
    leaf, place = pki.issue(KEY.public_key(), "tb-0042"), tmp_path / "chain.pem"
    for order in ((leaf, pki.root), (pki.root, leaf), (pki.root, leaf, pki.root)):
        place.write_bytes(pem(*order))

        assert chain_in(place) == (leaf, pki.root)
        assert root_in(place) == (pki.root, (leaf,))


@pytest.mark.fault(
    "Files",
    "a file for one root, or for one chain, that holds several and does not tell which",
    comes="BadInput (2), naming the file and how many it holds; none of them is chosen",
    then="leave the one that is meant in the file",
)
def test_of_several_roots_or_leaves_none_is_chosen(tmp_path: Path, pki: Pki) -> None:
    (tmp_path / "other").mkdir()
    other, place = Pki.make(tmp_path / "other"), tmp_path / "roots.pem"
    place.write_bytes(pem(pki.root, other.root))
    with pytest.raises(BadInput, match="2 certificates, 2 of them roots"):
        root_in(place)

    place.write_bytes(pem(pki.root, *(pki.issue(KEY.public_key(), f"tb-{n}") for n in (1, 2))))
    with pytest.raises(BadInput, match="2 that issued none"):
        chain_in(place)


def test_keys_are_read_as_people_have_them(tmp_path: Path, lived: Callable[[bytes], bytes]) -> None:
    place, public = tmp_path / "box.key", tmp_path / "box.pub"
    place.write_bytes(lived(KEY_PEM))
    place.chmod(0o600)
    public.write_bytes(
        lived(
            KEY.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )
    )

    assert private_pem_in(place) == KEY_PEM
    assert public_key_in(place, "a key") == public_key_in(public, "a key") == KEY.public_key()


def test_keys_in_der_are_read_by_whoever_takes_a_key(tmp_path: Path) -> None:
    key, place = rsa.generate_private_key(65537, 2048), tmp_path / "ta.der"
    place.write_bytes(
        key.private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    place.chmod(0o600)
    public = tmp_path / "pub.der"
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )

    assert FileSigner(place).public_key == read_public_key(public) == key.public_key()
    assert private_pem_in(place).startswith(b"-----BEGIN PRIVATE KEY-----")


@pytest.mark.fault(
    "Files",
    "a key's file that holds a certificate, another kind of key, or a cut one",
    comes="BadInput (2), naming the file; what is in it is not quoted",
    then="give the file with the key",
)
@pytest.mark.parametrize(
    "octets",
    [REQUEST, KEY_PEM[:80], b"1234567890\n", b"\x30\x82secret"],
    ids=["request", "cut", "text", "DER"],
)
def test_a_key_that_is_none_is_named_and_not_quoted(tmp_path: Path, octets: bytes) -> None:
    place = tmp_path / "box.key"
    place.write_bytes(octets)
    place.chmod(0o600)

    for read in (private_pem_in, FileSigner, read_public_key, signer_key):
        with pytest.raises(BadInput) as caught:
            read(place)
        assert caught.value.where == str(place)
        assert "1234567890" not in caught.value.message
        assert "MI" not in caught.value.message
