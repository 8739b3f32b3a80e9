"""The certificate of the box's key, on the box. These share one box, its key, its certificate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from cryptography import x509

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import DeviceRefused, IntegrityFailure
from provisioning.authority import Authority
from provisioning.certificates import pem
from provisioning.csr import checked_request
from provisioning.station import Station
from provisioning.token import KeyPair
from provisioning.trustbox import TrustBox
from tests.device.key_parts import LABEL, SO, USER

pytestmark = pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE, Capability.RESTORE)

MARK = "/run/trustbox-certified"


@dataclass(frozen=True, slots=True)
class Certified:
    """A key in the box's TEE and its certificate, which need not be on the box."""

    key: KeyPair
    chain: tuple[x509.Certificate, ...]
    authority: Authority
    delivered: tuple[x509.Certificate, ...]
    """What the box held before."""


@pytest.fixture(scope="module")
def kept() -> Iterator[tuple[list[Certified], ExitStack]]:
    with ExitStack() as held:
        yield [], held


@pytest.fixture
def certified(
    module_box: TrustBox,
    kept: tuple[list[Certified], ExitStack],
    tmp_path_factory: pytest.TempPathFactory,
    by: Deadline,
) -> Certified:
    """Made now, or before this test; after a failed one the box is pristine again. No chain is
    installed: each test does that if it wants one."""
    made, held = kept
    shell, identity = module_box.target.shell, module_box.identity
    if not made or shell.run("test", "-e", MARK, by=by, check=False).status:
        module_box.close()
        delivered = identity.chain(by=by)
        module_box.keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)
        module_box.keys.login(LABEL, USER, by=by)
        key, _ = module_box.keys.generate("device", by=by)
        station = Station(tmp_path_factory.mktemp("station"))
        authority = held.enter_context(station.authority(make=True, by=by))
        request = identity.request(key, by=by)
        leaf = authority.certify(request, module_box.target.serial, days=30, by=by)
        made[:] = [Certified(key, (leaf, authority.issuing), authority, delivered)]
        shell.run("touch", MARK, by=by)
    shell.run("rm", "-f", "--", identity.chain_path, by=by)
    return made[0]


def test_request_is_signed_in_the_tee_and_names_the_box(
    module_box: TrustBox, certified: Certified, by: Deadline
) -> None:
    request = module_box.identity.request(certified.key, by=by)

    assert checked_request(request, module_box.target.serial) == certified.key.public_key


def test_request_of_one_box_gets_no_certificate_for_another(
    module_box: TrustBox, certified: Certified, by: Deadline
) -> None:
    request = module_box.identity.request(certified.key, by=by)

    with pytest.raises(DeviceRefused, match="instead"):
        certified.authority.certify(request, "TB-OTHER", days=30, by=by)


def test_box_is_delivered_without_an_identity(certified: Certified) -> None:
    assert certified.delivered == ()


def test_installed_chain_reads_back(
    module_box: TrustBox, certified: Certified, by: Deadline
) -> None:
    module_box.identity.install(certified.key, certified.chain, by=by)

    assert module_box.identity.chain(by=by) == certified.chain
    assert module_box.identity.installed(certified.key, certified.chain, by=by)


def test_installed_chain_can_be_read_by_every_program_on_the_box(
    module_box: TrustBox, certified: Certified, by: Deadline
) -> None:
    module_box.identity.install(certified.key, certified.chain, by=by)

    path = module_box.identity.chain_path
    assert module_box.target.shell.run("stat", "-c", "%a %U", path, by=by).text == "644 root"


def test_certificate_of_another_key_is_not_installed(
    module_box: TrustBox, certified: Certified, by: Deadline
) -> None:
    other, _ = module_box.keys.generate("other", by=by)

    with pytest.raises(IntegrityFailure, match="another key"):
        module_box.identity.install(other, certified.chain, by=by)

    assert module_box.identity.chain(by=by) == ()


def test_damaged_file_is_seen(module_box: TrustBox, certified: Certified, by: Deadline) -> None:
    identity = module_box.identity
    identity.install(certified.key, certified.chain, by=by)
    module_box.target.shell.write(identity.chain_path, b"-----BEGIN CERT", by=by, mode=0o644)

    assert not identity.installed(certified.key, certified.chain, by=by)
    assert identity.chain(by=by) == ()


@pytest.mark.needs(Capability.OPENSSL)
def test_boxs_own_openssl_accepts_the_chain(
    module_box: TrustBox, certified: Certified, by: Deadline
) -> None:
    shell, path = module_box.target.shell, module_box.identity.chain_path
    module_box.identity.install(certified.key, certified.chain, by=by)
    shell.write("/tmp/root.pem", pem(certified.authority.root), by=by)

    argv = ("openssl", "verify", "-CAfile", "/tmp/root.pem", "-untrusted", path, path)
    done = shell.run(*argv, by=by, check=False)

    assert done.status == 0, done.stderr
