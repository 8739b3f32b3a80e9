"""IoT Edge's configuration says what it should, and is judged as IoT Edge would."""

from __future__ import annotations

import tomllib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInput, Misuse
from harness.secret import Secret
from provisioning.iotedge import (
    EdgeConfig,
    EstCertificate,
    FileCertificate,
    check,
    without_pins,
)
from provisioning.iotedge_toml import table
from provisioning.iotedge_uri import Pkcs11Uri

PIN = Secret(b"planted-4711")
KEY = Pkcs11Uri(token="trustbox", object="device-id", pin=PIN)
CONFIG = EdgeConfig(
    id_scope="0ne00ABCDEF",
    registration_id="TB-EDGE-0001",
    certificate=FileCertificate("/etc/trustbox/device.pem", KEY),
    module="/usr/lib/aarch64-linux-gnu/libckteec.so.0",
    base_slot=Pkcs11Uri(token="trustbox", pin=PIN),
    hostname="tb-edge-0001",
)
EST = EstCertificate(
    url="https://est.example/.well-known/est",
    common_name="tb-edge-0001",
    trusted=("/etc/trustbox/est.pem",),
    bootstrap=FileCertificate("/etc/trustbox/idevid.pem", KEY),
)


def rendered(config: EdgeConfig) -> dict[str, object]:
    return tomllib.loads(config.render().reveal().decode())


def test_certificate_file_and_key_in_the_token() -> None:
    assert rendered(CONFIG) == {
        "hostname": "tb-edge-0001",
        "provisioning": {
            "source": "dps",
            "global_endpoint": "https://global.azure-devices-provisioning.net/",
            "id_scope": "0ne00ABCDEF",
            "attestation": {
                "method": "x509",
                "registration_id": "tb-edge-0001",
                "identity_cert": "file:///etc/trustbox/device.pem",
                "identity_pk": "pkcs11:token=trustbox;object=device%2Did?pin-value=planted%2D4711",
            },
        },
        "aziot_keys": {
            "pkcs11_lib_path": "/usr/lib/aarch64-linux-gnu/libckteec.so.0",
            "pkcs11_base_slot": "pkcs11:token=trustbox?pin-value=planted%2D4711",
        },
    }


def test_est_with_a_bootstrap_certificate() -> None:
    found = rendered(replace(CONFIG, certificate=EST))

    assert found["provisioning"]["attestation"]["identity_cert"] == {  # type: ignore[index]
        "method": "est",
        "common_name": "tb-edge-0001",
        "auto_renew": {"rotate_key": True, "threshold": "80%", "retry": "4%"},
    }
    assert found["cert_issuance"]["est"] == {  # type: ignore[index]
        "trusted_certs": ["file:///etc/trustbox/est.pem"],
        "auth": {
            "bootstrap_identity_cert": "file:///etc/trustbox/idevid.pem",
            "bootstrap_identity_pk": KEY.text(with_pin=True),
        },
        "identity_auto_renew": {"rotate_key": True, "threshold": "80%", "retry": "4%"},
        "urls": {"default": "https://est.example/.well-known/est"},
    }


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_password_of_any_characters_reads_back(password: str) -> None:
    est = replace(EST, bootstrap=None, login=("estuser", Secret(password.encode())))

    found = rendered(replace(CONFIG, certificate=est))

    auth = found["cert_issuance"]["est"]["auth"]  # type: ignore[index]
    assert auth == {"username": "estuser", "password": password}


def test_same_values_give_the_same_octets() -> None:
    assert CONFIG.render() == replace(CONFIG).render()


@pytest.mark.parametrize(
    "change",
    [
        {"id_scope": "0ne'x"},
        {"registration_id": "-x"},
        {"hostname": "UPPER"},
        {"endpoint": "http://h/"},
        {"module": "libckteec.so"},
        {"certificate": FileCertificate("/etc/x y", KEY)},
        {"certificate": replace(EST, bootstrap=None)},
        {"certificate": replace(EST, login=("a", PIN))},
        {"certificate": replace(EST, threshold="120%")},
        {"certificate": replace(EST, url="http://est")},
    ],
)
def test_value_that_iot_edge_would_not_take_is_misuse(change: dict[str, object]) -> None:
    with pytest.raises(Misuse):
        replace(CONFIG, **change).render()  # type: ignore[arg-type]


@pytest.mark.parametrize("certificate", [CONFIG.certificate, EST])
def test_what_we_render_passes_our_check(certificate: FileCertificate | EstCertificate) -> None:
    check(replace(CONFIG, certificate=certificate).render().reveal())


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        (b'"dps"', b'"manual"', "provisioning.source"),
        (b'"x509"', b'"tpm"', "provisioning.attestation.method"),
        (b"id_scope = ", b"scope_id = ", "provisioning.id_scope"),
        (b"object=device%2Did", b"object=device id", "provisioning.attestation.identity_pk"),
        (b'"pkcs11:token=trustbox?', b'"pkcs11:trustbox?', "aziot_keys.pkcs11_base_slot"),
        (b"[provisioning]", b"[provisioning", "the file"),
    ],
)
def test_file_that_iot_edge_would_not_take_is_named_without_its_pin(
    old: bytes, new: bytes, key: str
) -> None:
    text = CONFIG.render().reveal()
    assert old in text

    with pytest.raises(BadInput) as refusal:
        check(text.replace(old, new))

    assert refusal.value.key == key
    assert "planted" not in refusal.value.message


def test_record_of_a_configuration_has_no_secret() -> None:
    for certificate in (CONFIG.certificate, EST, replace(EST, bootstrap=None, login=("u", PIN))):
        text = without_pins(replace(CONFIG, certificate=certificate)).render().reveal()
        assert b"planted" not in text


def test_secrets_do_not_show_in_a_configuration() -> None:
    assert "planted" not in repr(CONFIG) + repr(CONFIG.render())


def test_value_of_another_kind_is_misuse() -> None:
    with pytest.raises(Misuse, match="float"):
        table("t", {"x": 1.5})
