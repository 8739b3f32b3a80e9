"""A CA's certificate that no path can lead to is named, and so is a name that the CA changed."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from harness.errors import IntegrityFailure
from provisioning.certificates import ca_fault, check_path
from provisioning.idevid import key_usage
from tests.links.est_pki import Key, Pki, name, new_key

SERIAL = "TB-HOST-0001"
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


def root_with(key: Key, *, ca: bool | None, critical: bool, usage: bool | None) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("own root"))
        .issuer_name(name("own root"))
        .public_key(key.public_key())
        .serial_number(5)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + 30 * DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=critical)
    if usage is not None:
        said = key_usage(key_cert_sign=usage, crl_sign=True)
        builder = builder.add_extension(said, critical=True)
    return builder.sign(key, hashes.SHA256())


FAULTS = [
    (True, True, None, "has no keyUsage"),
    (True, False, True, "basicConstraints that is not critical"),
    (None, True, True, "has no basicConstraints"),
    (False, True, True, "is no CA's"),
    (True, True, False, "without keyCertSign"),
]


@pytest.mark.parametrize(("ca", "critical", "usage", "said"), FAULTS)
def test_what_a_ca_certificate_lacks_is_told_with_its_name(
    tmp_path_factory: pytest.TempPathFactory,
    ca: bool | None,
    critical: bool,
    usage: bool | None,
    said: str,
) -> None:
    key, mine = new_key(), new_key()
    root = root_with(key, ca=ca, critical=critical, usage=usage)
    pki = Pki(tmp_path_factory.mktemp("pki"), root, key)
    leaf = pki.issue(mine.public_key(), SERIAL.lower())

    assert ca_fault(root).startswith("the CA certificate CN=own root ")
    assert said in ca_fault(root)
    with pytest.raises(IntegrityFailure, match=said):
        check_path(leaf, key=mine.public_key(), serial=SERIAL, above=(), root=root, idevid=False)


def test_a_ca_certificate_with_all_that_it_needs_has_no_fault() -> None:
    assert not ca_fault(root_with(new_key(), ca=True, critical=True, usage=True))


@pytest.mark.fault(
    "EST",
    "the CA wrote the box's common name in capitals",
    comes="IntegrityFailure (7), which says that the CA changed it; the certificate is kept",
    then="have the CA's profile take the name as it is asked for",
)
def test_a_name_that_the_ca_changed_is_told_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    pki, mine = Pki.make(tmp_path_factory.mktemp("pki")), new_key()
    leaf = pki.issue(mine.public_key(), SERIAL)

    with pytest.raises(IntegrityFailure, match="the CA changed its capitals"):
        check_path(
            leaf, key=mine.public_key(), serial=SERIAL, above=(), root=pki.root, idevid=False
        )
