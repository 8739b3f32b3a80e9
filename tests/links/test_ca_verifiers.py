"""Certificates and CRLs of our CA, judged by programs that we did not write."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from harness.deadline import Deadline
from provisioning.authority import Authority
from provisioning.authority_open import open_authority
from provisioning.authority_policy import OPTIONAL_DEVICE_KEYS
from provisioning.authority_settings import CaSettings, RoleSettings
from provisioning.certificates import check_issued, pem
from provisioning.csr import device_subject
from provisioning.softhsm import softhsm_token
from provisioning.token_public import KeyProfile
from tests.unit.authority_parts import AnyKey, request_of

pytestmark = pytest.mark.slow

CAS = {
    "EC": CaSettings().root.key,
    "RSA": KeyProfile.RSA_3072,
}
BOXES = [kind.value for kind in (*CaSettings().device_keys, *OPTIONAL_DEVICE_KEYS)]
ACCEPTED = Path(__file__).with_name("ca_findings.toml")


@dataclass(frozen=True, slots=True)
class Made:
    """A CA, its files as PEM in ``place``, and ``<kind>.pem`` for each kind of a box's key."""

    authority: Authority
    place: Path
    keys: dict[str, AnyKey]
    issued: dict[str, x509.Certificate]

    def run(self, *argv: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(argv, cwd=self.place, capture_output=True, check=False)

    def write_crls(self) -> None:
        for issuer in ("root", "issuing"):
            crl = self.authority.files.crl(issuer)
            assert crl is not None
            text = crl.public_bytes(serialization.Encoding.PEM)
            (self.place / f"{issuer}.crl.pem").write_bytes(text)


@pytest.fixture(scope="module", params=CAS)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Made]:
    """Boxes' keys of every kind; one certificate is without end."""
    by, place = Deadline.after(120), tmp_path_factory.mktemp("ca")
    root = CAS[request.param]
    issuing = KeyProfile.EC_P256 if root is KeyProfile.EC_P384 else root
    settings = CaSettings(
        root=RoleSettings("softhsm:root", root, None),
        issuing=RoleSettings("softhsm:line", issuing, 7300),
        device_keys=(*CaSettings().device_keys, *OPTIONAL_DEVICE_KEYS),
        crl_url="http://crl.example/issuing.crl",
        root_crl_url="http://crl.example/root.crl",
    )
    token = softhsm_token(place / "hsm", "factory", by=by)
    authority = open_authority(token, place / "ca", make=settings, by=by)
    keys: dict[str, AnyKey] = {
        "ec-p256": ec.generate_private_key(ec.SECP256R1()),
        "ec-p384": ec.generate_private_key(ec.SECP384R1()),
        "rsa-2048": rsa.generate_private_key(65537, 2048),
        "rsa-3072": rsa.generate_private_key(65537, 3072),
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
    }
    issued = {}
    for kind, key in keys.items():
        days = None if kind == "ec-p256" else 3650
        serial = f"TB-{kind.upper()}"
        asked = request_of(key, device_subject(serial))
        issued[kind] = authority.certify(asked, serial, days=days, by=by)
        (place / f"{kind}.pem").write_bytes(pem(issued[kind]))
        (place / f"{kind}.chain.pem").write_bytes(pem(issued[kind], authority.issuing))
    (place / "root.pem").write_bytes(pem(authority.root))
    (place / "issuing.pem").write_bytes(pem(authority.issuing))
    complete = Made(authority, place, keys, issued)
    complete.write_crls()
    yield complete
    token.close()


each_box = pytest.mark.parametrize("kind", BOXES)
OPENSSL = (
    *("openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-crl_check_all"),
    *("-CRLfile", "root.crl.pem", "-CRLfile", "issuing.crl.pem"),
    *("-CAfile", "root.pem", "-untrusted", "issuing.pem"),
)
CERTTOOL = (
    *("certtool", "--verify", "--load-ca-certificate", "root.pem"),
    *("--verify-profile", "medium", "--verify-purpose", "1.3.6.1.5.5.7.3.2"),
)


@each_box
def test_openssl_verifies_the_chain_and_the_crls(made: Made, kind: str) -> None:
    done = made.run(*OPENSSL, f"{kind}.pem")

    assert done.returncode == 0, done.stderr


@each_box
def test_gnutls_verifies_the_chain(made: Made, kind: str) -> None:
    done = made.run(*CERTTOOL, "--infile", f"{kind}.chain.pem")

    assert done.returncode == 0, done.stdout + done.stderr
    assert b"Chain verification output: Verified." in done.stdout


@each_box
def test_our_own_check_agrees(made: Made, kind: str) -> None:
    check_issued(
        made.issued[kind],
        key=made.keys[kind].public_key(),
        serial=f"TB-{kind.upper()}",
        issuing=made.authority.issuing,
        root=made.authority.root,
    )


def test_certificate_of_no_box_passes_neither(made: Made) -> None:
    """The same chain, one bit of the signature changed: the programs do look."""
    encoded = bytearray(made.issued["ec-p384"].public_bytes(serialization.Encoding.DER))
    encoded[-1] ^= 1
    (made.place / "forged.pem").write_bytes(pem(x509.load_der_x509_certificate(bytes(encoded))))
    chain = (made.place / "forged.pem").read_bytes() + pem(made.authority.issuing)
    (made.place / "forged.chain.pem").write_bytes(chain)

    assert made.run(*OPENSSL, "forged.pem").returncode != 0
    assert made.run(*CERTTOOL, "--infile", "forged.chain.pem").returncode != 0


def test_revoked_certificate_is_refused_by_openssl(made: Made) -> None:
    serial = "TB-REVOKED"
    key = ec.generate_private_key(ec.SECP256R1())
    asked = request_of(key, device_subject(serial))
    found = made.authority.certify(asked, serial, days=30, by=Deadline.after(60))
    (made.place / "revoked.pem").write_bytes(pem(found))
    assert made.run(*OPENSSL, "revoked.pem").returncode == 0

    made.authority.revoke(found.serial_number, "keyCompromise", by=Deadline.after(60))
    made.write_crls()

    done = made.run(*OPENSSL, "revoked.pem")
    assert done.returncode != 0
    assert b"certificate revoked" in done.stderr


@pytest.mark.parametrize(("crl", "issuer"), [("root", "root"), ("issuing", "issuing")])
def test_gnutls_verifies_the_crl(made: Made, crl: str, issuer: str) -> None:
    done = made.run(
        *("certtool", "--verify-crl", "--load-ca-certificate", f"{issuer}.pem"),
        *("--infile", f"{crl}.crl.pem"),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert b"Verified" in done.stdout + done.stderr


def test_pkilint_finds_nothing_but_what_is_accepted_with_a_reason(made: Made) -> None:
    accepted = {
        (entry["severity"], entry["code"])
        for entry in tomllib.loads(ACCEPTED.read_text())["accepted"]
        if entry["reason"]
    }
    found: set[tuple[str, str]] = set()
    for name in (*BOXES, "root", "issuing"):
        found |= linted(made, "lint_pkix_cert", "lint", f"{name}.pem")
    for name in BOXES:
        found |= linted(
            made, "lint_pkix_signer_signee_cert_chain", "lint", "issuing.pem", f"{name}.pem"
        )
    for name in ("root", "issuing"):
        found |= linted(made, "lint_crl", "lint", "-t", "CRL", "-p", "PKIX", f"{name}.crl.pem")

    assert found == accepted


def test_pkilint_does_find_what_is_wrong(made: Made) -> None:
    """A box's certificate is no issuer of the issuing CA's."""
    wrong = linted(made, "lint_pkix_signer_signee_cert_chain", "lint", "ec-p256.pem", "issuing.pem")

    assert {severity for severity, _ in wrong} & {"ERROR", "FATAL"}


def linted(made: Made, program: str, *arguments: str) -> set[tuple[str, str]]:
    """Severity and code of each finding."""
    argv = [str(Path(sys.executable).with_name(program)), *arguments[:1]]
    done = made.run(*argv, "-s", "INFO", "-f", "JSON", *arguments[1:])
    text = re.search(rb"\{.*\}", done.stdout, re.DOTALL)
    assert text is not None, done.stderr
    return {
        (finding["severity"], finding["code"])
        for result in json.loads(text[0])["results"]
        for finding in result["finding_descriptions"]
    }
