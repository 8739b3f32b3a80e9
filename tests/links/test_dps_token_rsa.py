"""An RSA key in a token that signs no RSA-PSS: TLS 1.3 takes nothing else of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import MissingCapability
from provisioning.http_token_tls import TokenTlsConnector
from provisioning.iotedge_uri import Pkcs11Uri
from provisioning.token_public import KeyProfile
from tests.links.dps_server import DpsServer
from tests.links.dps_token import device_token
from tests.links.est_pki import Pki, pem_of

pytestmark = pytest.mark.slow
PSS = ("RSA_PKCS_PSS", *(f"SHA{size}_RSA_PKCS_PSS" for size in (1, 224, 256, 384, 512)))
ID = b"\x07rsa"


@pytest.mark.fault(
    "DPS",
    "the device key is RSA, and its token signs no RSA-PSS, which TLS 1.3 asks of it",
    comes="MissingCapability, status 3, which says so, and all that OpenSSL said",
    then="take an EC key",
)
def test_a_token_without_rsa_pss_is_named_and_not_the_network(tmp_path: Path, pki: Pki) -> None:
    by = Deadline.after(60)
    with device_token(tmp_path / "token", pki, "device", far=False) as made, DpsServer(pki) as far:
        pair, _ = made.remote.token.ensure(ID, "rsa", KeyProfile.RSA_2048, by=by)
        settings = Path(made.remote.environment["SOFTHSM2_CONF"])
        without = ",".join(f"CKM_{name}" for name in PSS)
        settings.write_text(f"{settings.read_text()}slots.mechanisms = -{without}\n")
        identity = replace(
            made.identity,
            chain=pem_of(pki.issue(pair.public_key, "device")),
            key=Pkcs11Uri(token="box one", id=ID, type="private"),
        )
        connection = TokenTlsConnector(made.place, identity, pki.text).connect(
            "localhost", far.port, by=by
        )
        with pytest.raises(MissingCapability) as caught:
            connection.receive(100, by=by)
        connection.close()

    assert caught.value.message == "the token lacks RSA-PSS, which TLS 1.3 asks of an RSA key"
    assert "EC key" in caught.value.hint
    assert "tls_construct_cert_verify" in caught.value.hint
