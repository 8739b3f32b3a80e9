"""The root's key after the ceremony: what it signs, what it refuses, and what is written of it."""

from __future__ import annotations

import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.authority_open import StationCa
from provisioning.authority_settings import CaSettings, load_settings
from tests.links.ca_hsm import Factory

pytestmark = pytest.mark.slow


def ceremony_lines(factory: Factory) -> list[tuple[str, str]]:
    """Step and phase of each line."""
    text = (factory.state / "ca" / "ceremony.jsonl").read_text()
    return [(line["step"], line["phase"]) for line in map(json.loads, text.splitlines())]


def root_crl(factory: Factory) -> dict[int, x509.ReasonFlags]:
    crl = StationCa(factory.state).files.crl("root")
    assert crl is not None
    of = x509.CRLReason
    return {r.serial_number: r.extensions.get_extension_for_class(of).value.reason for r in crl}


def issuing(factory: Factory) -> x509.Certificate:
    return StationCa(factory.state).files.certificate("issuing")


@pytest.mark.fault(
    "CA",
    "the issuing CA is revoked after its certificate was renewed",
    comes="every certificate of its key is in root.crl; renew --issuing is refused (Misuse, status"
    " 2); nobody is certified any more",
    then="hand out root.crl; set up another issuing CA (docs/factory-ca.md)",
)
def test_revoking_the_issuing_ca_takes_every_certificate_of_its_key(set_up: Factory) -> None:
    first = issuing(set_up)
    assert set_up.ca("renew", "--issuing").returncode == 0
    second = issuing(set_up)

    done = set_up.ca("revoke", "--issuing", "--reason", "superseded", "--json")
    worse = set_up.ca("revoke", "--issuing", "--reason", "cACompromise", "--json")
    again = set_up.ca("renew", "--issuing")

    assert (json.loads(done.stdout)["changed"], json.loads(worse.stdout)["changed"]) == (True, True)
    bad = x509.ReasonFlags.ca_compromise
    assert root_crl(set_up) == {first.serial_number: bad, second.serial_number: bad}
    assert again.returncode == 2
    assert "key was revoked" in again.stderr
    assert issuing(set_up) == second
    shown = json.loads(set_up.ca("show", "--json").stdout)
    assert (shown["issuing"]["revoked"], shown["root"]["revoked"]) == ("cACompromise", None)


@pytest.mark.fault(
    "Services",
    "the issuing CA is revoked while a server that was started before is running",
    comes="the server certifies nobody any more and lets no box in",
    then="set up another issuing CA, and start the server on its state",
)
def test_who_opened_the_ca_before_its_renewal_notices_the_revocation(
    set_up: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", set_up.environment["SOFTHSM2_CONF"])
    by = Deadline.after(60)
    request = x509.load_pem_x509_csr(set_up.request("TB-1").read_bytes())
    with StationCa(set_up.state).opened(by=by) as running:
        leaf = running.certify(request.public_bytes(encoding=Encoding.DER), "TB-1", days=3, by=by)
        set_up.ca("renew", "--issuing")
        before = running.is_revoked(leaf)
        set_up.ca("revoke", "--issuing", "--reason", "cACompromise")

        assert (before, running.is_revoked(leaf)) == (False, True)
        with pytest.raises(Misuse, match="was revoked and certifies nobody"):
            running.renew("TB-1", now=True, by=by)


def test_each_use_of_the_roots_key_is_written_before_and_after_it(set_up: Factory) -> None:
    before = len(ceremony_lines(set_up))
    pin = set_up.pin_file("Root CA").read_bytes()
    set_up.ca("renew", "--issuing")
    set_up.ca("renew", "--root-crl")
    set_up.pin_file("Root CA").unlink()
    failed = set_up.ca("revoke", "--issuing")
    set_up.pin_file("Root CA").touch(mode=0o600)
    set_up.pin_file("Root CA").write_bytes(pin)
    set_up.ca("revoke", "--issuing")

    assert failed.returncode == 2
    assert ceremony_lines(set_up)[before:] == [
        ("renew-issuing", "intent"),
        ("renew-issuing", "done"),
        ("renew-root-crl", "intent"),
        ("renew-root-crl", "done"),
        ("revoke-issuing", "intent"),
        ("revoke-issuing", "failed"),
        ("revoke-issuing", "intent"),
        ("revoke-issuing", "done"),
    ]


def test_certificates_carry_the_address_of_the_crl_that_can_revoke_them(factory: Factory) -> None:
    urls = {"crl": "http://crl.example/issuing.crl", "root-crl": "http://crl.example/root.crl"}
    words = [word for name, url in urls.items() for word in (f"--{name}-url", url)]
    made = factory.ca("init", *factory.tokens(), *words)
    done = factory.ca("issue", str(factory.request("TB-1")), "--serial", "TB-1")

    assert made.returncode == 0, made.stderr
    leaf, above = x509.load_pem_x509_certificates(done.stdout.encode())
    assert [_addresses(each) for each in (leaf, above)] == [[urls["crl"]], [urls["root-crl"]]]
    root = StationCa(factory.state).files.certificate("root")
    assert x509.CRLDistributionPoints not in {type(e.value) for e in root.extensions}


def test_settings_of_an_earlier_version_open_and_the_address_can_be_added(set_up: Factory) -> None:
    place = set_up.state / "ca" / "ca.json"
    told = json.loads(place.read_text())
    del told["root_crl_url"]
    place.write_text(json.dumps(told))
    assert set_up.ca("show").returncode == 0
    assert load_settings(place.parent) == CaSettings.parse(place.read_bytes(), where="")

    place.write_text(json.dumps({**told, "root_crl_url": "http://crl.example/root.crl"}))
    done = set_up.ca("renew", "--issuing")

    assert done.returncode == 0, done.stderr
    assert _addresses(issuing(set_up)) == ["http://crl.example/root.crl"]


def _addresses(of: x509.Certificate) -> list[str]:
    points = of.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    return [str(name.value) for point in points for name in point.full_name or ()]
