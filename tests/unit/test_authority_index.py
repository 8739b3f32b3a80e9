"""The CA's index and settings: durable, private, and read as strictly as they are written."""

from __future__ import annotations

import datetime
import json
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from harness.errors import BadInput, Misuse
from provisioning.authority_entry import NewRow
from provisioning.authority_index import Index
from provisioning.authority_settings import CaSettings, load_settings, save_settings
from provisioning.csr import device_subject
from tests.unit.authority_parts import SERIAL, a_key


@pytest.fixture
def index(tmp_path: Path) -> Index:
    made = Index(tmp_path / "index.sqlite")
    made.create()
    return made


def certificate(number: int) -> x509.Certificate:
    key = a_key()
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(device_subject(SERIAL))
        .issuer_name(device_subject("CA"))
        .public_key(key.public_key())
        .serial_number(number)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )


def test_what_was_issued_is_found_by_number_key_and_box(index: Index) -> None:
    made = certificate(7)
    index.begin(NewRow(7, "device", SERIAL, "ab"))
    index.finish(made)

    for found in (index.get(7), *index.of_key("ab"), *index.of_device(SERIAL)):
        assert found is not None
        assert (found.certificate, found.device) == (made, SERIAL)


def test_signature_that_was_begun_and_never_came_is_known(index: Index) -> None:
    index.begin(NewRow(7, "device", SERIAL, "ab"))

    entry = index.get(7)
    assert entry is not None
    assert entry.certificate is None
    assert index.counts() == {"issued": 0, "revoked": 0, "to_revoke": 0, "unfinished": 1}


def test_number_is_never_used_twice(index: Index) -> None:
    index.begin(NewRow(7, "device", SERIAL, "ab"))

    with pytest.raises(Misuse, match="UNIQUE"):
        index.begin(NewRow(7, "device", "TB-2", "cd"))


def test_certificate_nobody_began_is_refused(index: Index) -> None:
    with pytest.raises(Misuse, match="no open entry for 7"):
        index.finish(certificate(7))


def test_crl_numbers_only_rise_for_each_issuer(index: Index) -> None:
    given = [index.next_crl(who) for who in ("root", "issuing", "issuing", "root")]

    assert given == [1, 1, 2, 2]


def test_index_is_for_its_owner_alone(index: Index) -> None:
    index.counts()

    assert stat.S_IMODE(index.path.stat().st_mode) == 0o600


def test_file_that_is_no_index_is_said_and_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "index.sqlite"
    place.write_bytes(b"not a database, but somebody's only copy of something" * 100)
    before = place.read_bytes()

    with pytest.raises(Misuse, match="cannot be used"):
        Index(place).counts()

    assert place.read_bytes() == before


def test_settings_read_back(tmp_path: Path) -> None:
    save_settings(tmp_path, CaSettings())

    assert load_settings(tmp_path) == CaSettings()
    assert stat.S_IMODE((tmp_path / "ca.json").stat().st_mode) == 0o600


def test_no_ca_has_no_settings(tmp_path: Path) -> None:
    assert load_settings(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"format": "trustbox-ca-2"}, "format"),
        ({"crl_days": 0}, "crl_days"),
        ({"crl_days": True}, "crl_days"),
        ({"root_crl_days": "7"}, "root_crl_days"),
        ({"device_keys": []}, "device_keys"),
        ({"device_keys": ["rsa-1024"]}, "device_keys"),
        ({"device_keys": [["ec-p256"]]}, "device_keys"),
        ({"hardware_type": "trustbox"}, "hardware_type"),
        ({"crl_url": "https://crl.example/"}, "crl_url"),
        ({"root": {"token": "softhsm:root", "key": "rsa-2048", "days": None}}, "root.key"),
        ({"root": {"token": "/etc/key", "key": "ec-p256", "days": None}}, "root.token"),
        ({"issuing": {"token": "softhsm:line", "key": "ec-p256", "days": 0}}, "issuing.days"),
        ({"issuing": 1}, "issuing"),
        ({"colour": "blue"}, "colour"),
    ],
    ids=lambda value: json.dumps(value)[:40] if isinstance(value, dict) else "",
)
def test_wrong_setting_is_named(tmp_path: Path, change: dict[str, object], key: str) -> None:
    (tmp_path / "ca.json").write_text(json.dumps(CaSettings().to_dict() | change))

    with pytest.raises(BadInput) as complaint:
        load_settings(tmp_path)

    assert complaint.value.key == key


def test_settings_that_are_no_json_are_said(tmp_path: Path) -> None:
    (tmp_path / "ca.json").write_text("{")

    with pytest.raises(BadInput, match=r"ca\.json"):
        load_settings(tmp_path)
