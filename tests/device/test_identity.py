"""The certificate of the box's key, on the box."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import DeviceRefused, IntegrityFailure
from harness.secret import Secret
from provisioning.authority import Authority
from provisioning.certificates import pem
from provisioning.csr import checked_request
from provisioning.station import Station
from provisioning.token import KeyPair
from provisioning.trustbox import TrustBox

pytestmark = pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE, Capability.RESTORE)

LABEL, SO, USER = "under-test", Secret(b"so-pin-6120"), Secret(b"user-pin-9344")


@pytest.fixture
def authority(tmp_path: Path, by: Deadline) -> Iterator[Authority]:
    with Station(tmp_path / "station").authority(by=by) as opened:
        yield opened


@pytest.fixture
def key(box: TrustBox, by: Deadline) -> KeyPair:
    box.keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)
    box.keys.login(LABEL, USER, by=by)
    return box.keys.generate("device", by=by)[0]


@pytest.fixture
def chain(
    box: TrustBox, key: KeyPair, authority: Authority, by: Deadline
) -> tuple[x509.Certificate, ...]:
    request = box.identity.request(key, by=by)
    issued = authority.certify(request, box.target.serial, days=30, by=by)
    return (issued, authority.issuing)


def test_request_is_signed_in_the_tee_and_names_the_box(
    box: TrustBox, key: KeyPair, by: Deadline
) -> None:
    request = box.identity.request(key, by=by)

    assert checked_request(request, box.target.serial) == key.public_key


def test_request_of_one_box_gets_no_certificate_for_another(
    box: TrustBox, key: KeyPair, authority: Authority, by: Deadline
) -> None:
    request = box.identity.request(key, by=by)

    with pytest.raises(DeviceRefused, match="instead"):
        authority.certify(request, "TB-OTHER", days=30, by=by)


def test_box_is_delivered_without_an_identity(box: TrustBox, by: Deadline) -> None:
    assert box.identity.chain(by=by) == ()


def test_installed_chain_reads_back(
    box: TrustBox, key: KeyPair, chain: tuple[x509.Certificate, ...], by: Deadline
) -> None:
    box.identity.install(key, chain, by=by)

    assert box.identity.chain(by=by) == chain
    assert box.identity.installed(key, chain, by=by)


def test_installed_chain_can_be_read_by_every_program_on_the_box(
    box: TrustBox, key: KeyPair, chain: tuple[x509.Certificate, ...], by: Deadline
) -> None:
    box.identity.install(key, chain, by=by)

    mode = box.target.shell.run("stat", "-c", "%a %U", box.identity.chain_path, by=by).text
    assert mode == "644 root"


def test_certificate_of_another_key_is_not_installed(
    box: TrustBox, key: KeyPair, chain: tuple[x509.Certificate, ...], by: Deadline
) -> None:
    other, _ = box.keys.generate("other", by=by)

    with pytest.raises(IntegrityFailure, match="another key"):
        box.identity.install(other, chain, by=by)

    assert box.identity.chain(by=by) == ()


def test_damaged_file_is_seen(
    box: TrustBox, key: KeyPair, chain: tuple[x509.Certificate, ...], by: Deadline
) -> None:
    box.identity.install(key, chain, by=by)
    box.target.shell.write(box.identity.chain_path, b"-----BEGIN CERT", by=by, mode=0o644)

    assert not box.identity.installed(key, chain, by=by)
    assert box.identity.chain(by=by) == ()


@pytest.mark.needs(Capability.OPENSSL)
def test_boxs_own_openssl_accepts_the_chain(
    box: TrustBox,
    key: KeyPair,
    chain: tuple[x509.Certificate, ...],
    authority: Authority,
    by: Deadline,
) -> None:
    box.identity.install(key, chain, by=by)
    box.target.shell.write("/tmp/root.pem", pem(authority.root), by=by)

    path = box.identity.chain_path
    argv = ("openssl", "verify", "-CAfile", "/tmp/root.pem", "-untrusted", path, path)
    done = box.target.shell.run(*argv, by=by, check=False)

    assert done.status == 0, done.stderr
