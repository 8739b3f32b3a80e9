"""Trusted Applications signed by a key that never leaves its PKCS#11 token (SoftHSM2)."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness.deadline import Deadline
from harness.secret import Secret
from provisioning.softhsm import softhsm_module
from provisioning.token import Token
from provisioning.token_process import TokenProcess
from provisioning.token_public import KeyProfile
from tests.unit.ta_parts import ELF, ENCLAVE, ta

pytestmark = pytest.mark.enclave


class Vendor:
    """A token with one RSA and one EC key, and what a command needs to use them."""

    def __init__(self, place: Path) -> None:
        (place / "tokens").mkdir()
        configuration = place / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {place / 'tokens'}\n")
        data = str(place / "data")  # the station's, which counts wrong PINs
        self.environment = {"SOFTHSM2_CONF": str(configuration), "XDG_DATA_HOME": data}
        self.pin = place / "pin"
        self.pin.touch(mode=0o600)
        self.pin.write_text("vendor-pin-1\n")
        self.place = place
        tool = ("softhsm2-util", "--init-token", "--free", "--label", "TA vendor")
        self._run(*tool, "--so-pin", "so-pin-1", "--pin", "vendor-pin-1")
        self.public = place / "public.pem"
        self._make_keys(Deadline.after(60))

    def _make_keys(self, by: Deadline) -> None:
        token = Token(TokenProcess(softhsm_module(), environment=self.environment))
        with contextlib.closing(token):
            token.login("TA vendor", Secret(b"vendor-pin-1"), by=by)
            made, _ = token.ensure(b"\1", "ta", KeyProfile.RSA_2048, by=by)
            token.ensure(b"\2", "other", KeyProfile.EC_P256, by=by)
        pem = made.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.public.write_bytes(pem)

    def uri(self, id: str = "%01") -> str:
        module = softhsm_module()
        return f"pkcs11:token=TA%20vendor;id={id}?module-path={module}&pin-source=file:{self.pin}"

    def _run(self, *argv: str) -> None:
        subprocess.run(
            argv, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **self.environment},
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    yield Vendor(tmp_path_factory.mktemp("vendor"))


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    path = tmp_path / "app.elf"
    path.write_bytes(ELF)
    return path


@pytest.mark.parametrize("algorithm", ["pss", "pkcs1"])
def test_what_a_token_signed_verifies(vendor: Vendor, elf: Path, algorithm: str) -> None:
    out = elf.with_suffix(".ta")
    words = ("--uuid", str(ENCLAVE), "--key", vendor.uri(), "-o", out, "--algorithm", algorithm)
    ended = ta("sign", elf, *words, environment=vendor.environment)

    assert ended.status == 0, ended.err
    assert ta("verify", out, "--key", vendor.public).status == 0


@pytest.mark.parametrize(
    ("id", "status", "told"),
    [("%02", 2, "an RSA key"), ("%09", 6, "no key pair of id 09")],
    ids=["an EC key", "no such key"],
)
def test_a_key_that_cannot_sign_is_refused(
    vendor: Vendor, elf: Path, id: str, status: int, told: str
) -> None:
    out = elf.with_suffix(".ta")
    words = ("--uuid", str(ENCLAVE), "--key", vendor.uri(id), "-o", out)
    ended = ta("sign", elf, *words, environment=vendor.environment)

    assert (ended.status, out.exists()) == (status, False)
    assert told in ended.err


def test_a_key_is_found_by_its_label_and_by_the_uri_that_p11tool_prints(
    vendor: Vendor, elf: Path
) -> None:
    out, rest = elf.with_suffix(".ta"), vendor.uri().partition("?")[2]
    for named in (
        "object=ta",
        "id=%01;object=ta;type=private;model=SoftHSM%20v2;manufacturer=SoftHSM%20project",
    ):
        uri = f"PKCS11:token=TA%20vendor;{named}?{rest}"
        words = ("--uuid", str(ENCLAVE), "--key", uri, "-o", out)
        ended = ta("sign", elf, *words, environment=vendor.environment)

        assert ended.status == 0, ended.err
        assert ta("verify", out, "--key", vendor.public).status == 0


@pytest.mark.parametrize("named", ["object=absent", "id=%01;object=other"])
def test_a_label_that_is_not_the_key_s_signs_nothing(vendor: Vendor, elf: Path, named: str) -> None:
    out, rest = elf.with_suffix(".ta"), vendor.uri().partition("?")[2]
    uri = f"pkcs11:token=TA%20vendor;{named}?{rest}"
    ended = ta(
        "sign", elf, "--uuid", str(ENCLAVE), "--key", uri, "-o", out, environment=vendor.environment
    )

    assert (ended.status, out.exists()) == (6, False)
    assert "no key pair of" in ended.err
