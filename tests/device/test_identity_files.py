"""Faults of the certificate file on a box: each is noticed, and installing again mends it.

A table: what is done to the file → what the box then shows → what is there after the next run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import IntegrityFailure
from harness.part_file import part_beside
from provisioning.certificates import pem
from provisioning.identity import IdentitySession
from provisioning.station import Station
from provisioning.token import KeyPair
from provisioning.trustbox import TrustBox
from tests.device.key_parts import LABEL, SO, USER

pytestmark = pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE, Capability.RESTORE)

Chain = tuple[x509.Certificate, ...]
Fault = Callable[[TrustBox, Chain, Deadline], None]
VICTIM = "/run/trustbox-victim"


@pytest.fixture(scope="module")
def issued(
    module_box: TrustBox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[KeyPair, Chain]]:
    """A box with its key and certificate installed."""
    by = Deadline.after(100)
    module_box.keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=by)
    module_box.keys.login(LABEL, USER, by=by)
    key, _ = module_box.keys.generate("device", by=by)
    state: Path = tmp_path_factory.mktemp("station")
    with Station(state).authority(make=True, by=by) as ca:
        request = module_box.identity.request(key, by=by)
        leaf = ca.certify(request, module_box.target.serial, days=30, by=by)
        module_box.identity.install(key, (leaf, ca.issuing), by=by)
        yield key, (leaf, ca.issuing)


def rewritten(
    change: Callable[[bytes, Chain], bytes],
) -> Callable[[TrustBox, Chain, Deadline], None]:
    """A fault that changes the file's octets."""

    def do(box: TrustBox, chain: Chain, by: Deadline) -> None:
        whole = change(pem(*chain), chain)
        box.target.shell.write(box.identity.chain_path, whole, by=by, mode=0o644)

    return do


def ran(*argv: str) -> Fault:
    """A fault that a command on the box makes; ``{}`` is the file."""

    def do(box: TrustBox, chain: Chain, by: Deadline) -> None:
        words = [word.replace("{}", box.identity.chain_path) for word in argv]
        box.target.shell.run(*words, by=by)

    return do


FAULTS = {
    "truncated in the first line": rewritten(lambda text, _: text[:20]),
    "truncated in the leaf": rewritten(lambda text, _: text[:300]),
    "truncated after the leaf": rewritten(lambda _, chain: pem(chain[0])),
    "truncated before the last line end": rewritten(lambda text, _: text[:-1]),
    "empty": rewritten(lambda *_: b""),
    "the issuer alone": rewritten(lambda _, chain: pem(chain[1])),
    "in reversed order": rewritten(lambda _, chain: pem(*reversed(chain))),
    "with CRLF": rewritten(lambda text, _: text.replace(b"\n", b"\r\n")),
    "with a byte order mark": rewritten(lambda text, _: b"\xef\xbb\xbf" + text),
    "the leaf twice": rewritten(lambda text, chain: pem(chain[0]) + text),
    "other octets": rewritten(lambda *_: bytes(range(256))),
    "removed": ran("rm", "--", "{}"),
    "writable for everybody": ran("chmod", "0666", "--", "{}"),
    "of another owner": ran("chown", "65534", "--", "{}"),
    "a link to another file": ran("sh", "-c", f'echo x >{VICTIM}; ln -sf {VICTIM} "$1"', "-", "{}"),
}


@pytest.mark.fault(
    "Files",
    "on a box with a TEE: the certificate file is cut, without its issuer, removed,"
    " of another owner, or a link",
    comes="works: the whole chain in a file of root's with mode 0644; nothing was written"
    " through the link",
    then="nothing",
)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_fault_of_the_file_is_noticed_and_mended(
    module_box: TrustBox,
    issued: tuple[KeyPair, Chain],
    fault: Fault,
    by: Deadline,
) -> None:
    (key, chain), identity, shell = issued, module_box.identity, module_box.target.shell
    fault(module_box, chain, by)

    noticed = not identity.installed(key, chain, by=by)
    identity.install(key, chain, by=by)

    assert noticed
    assert shell.read(identity.chain_path, by=by) == pem(*chain)
    seen = shell.run("stat", "-c", "%F %a %u", "--", identity.chain_path, by=by).text
    assert seen == "regular file 644 0"
    victim = shell.run("cat", "--", VICTIM, by=by, check=False)
    assert victim.stdout in (b"", b"x\n")  # nobody wrote through the link


@pytest.mark.fault(
    "Files",
    "the power ends in the write of a file on the box (configuration, certificate, enclave)",
    comes="LinkLost, status 4; the old file, and at most a part with mode 0600",
    then="run again: the next write there takes the part away",
)
def test_what_a_cut_write_left_beside_the_file_goes_when_it_is_written(
    module_box: TrustBox, issued: tuple[KeyPair, Chain], by: Deadline
) -> None:
    (key, chain), identity, shell = issued, module_box.identity, module_box.target.shell
    part = part_beside(identity.chain_path)
    shell.write(part, pem(*chain)[:100], by=by, mode=0o600)

    identity.install(key, chain, by=by)

    assert shell.run("test", "-e", part, by=by, check=False).status == 1
    assert identity.installed(key, chain, by=by)


@pytest.mark.fault(
    "Files",
    "a certificate of another key is to be installed",
    comes="IntegrityFailure, status 7; the old certificate stays",
    then="ask for a certificate with the request of the box's own key",
)
def test_certificate_of_another_key_is_not_installed(
    module_box: TrustBox, issued: tuple[KeyPair, Chain], by: Deadline
) -> None:
    key, chain = issued
    other, _ = module_box.keys.generate("other", by=by)

    with pytest.raises(IntegrityFailure, match="belongs to another key"):
        module_box.identity.install(other, chain, by=by)

    assert module_box.identity.installed(key, chain, by=by)
    assert module_box.keys.certificates(other, by=by) == ()


def test_certificate_that_only_the_file_has_is_not_installed(
    module_box: TrustBox, issued: tuple[KeyPair, Chain], by: Deadline
) -> None:
    key, chain = issued
    identity: IdentitySession = module_box.identity
    module_box.keys.token.destroy("certificate", key.id, by=by)

    missing = not identity.installed(key, chain, by=by)
    identity.install(key, chain, by=by)

    assert missing
    assert identity.installed(key, chain, by=by)
