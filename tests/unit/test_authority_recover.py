"""A lost index is made anew: of a backup, of the published CRLs, of the certificates in records."""

from __future__ import annotations

import datetime
import json
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from harness.deadline import Deadline
from harness.errors import DeviceRefused, Misuse
from provisioning.authority import Authority
from provisioning.authority_entry import NewRow
from provisioning.authority_index import Index
from provisioning.authority_life import fingerprint
from provisioning.authority_lock import locked
from provisioning.authority_recover import Recovery, carried_out, planned
from provisioning.certificates import pem
from provisioning.csr import device_subject
from tests.unit.authority_parts import SERIAL, a_key, certified, number_of


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    made = tmp_path / "records"
    made.mkdir()
    return made


def recovered(authority: Authority, records: Path, by: Deadline, **said: Path) -> Recovery:
    """As the command does with the serial number typed."""
    with locked(authority.state, by):
        found = planned(authority.files, records, backup=said.get("backup"))
        carried_out(authority.files, found)
    return found


def recorded(records: Path, found: x509.Certificate, *, installed: bool = True) -> None:
    """As a run leaves it."""
    place = records / SERIAL
    (place / "issued").mkdir(parents=True, exist_ok=True)
    (place / "issued" / f"{found.serial_number:x}.pem").write_bytes(pem(found))
    facts = {"serial": {"value": f"{found.serial_number:x}"}, "installed": {"value": installed}}
    told = {"format": "trustbox-record-1", "certificate": facts}
    (place / "record.json").write_text(json.dumps(told))


@pytest.mark.fault(
    "CA",
    "the index is lost and there is no backup",
    comes="trustbox ca recover makes one of the published CRLs and the certificates in the records,"
    " and says what it cannot know",
    then="publish a CRL (ca renew --crl --now): its number is above every published one",
    case="F-01",
)
def test_index_is_made_of_the_published_crls_and_the_records(
    authority: Authority, records: Path, by: Deadline
) -> None:
    bad, good = a_key(), a_key()
    victim = certified(authority, bad)
    authority.revoke(victim.serial_number, "keyCompromise", by=by)
    kept = certified(authority, good)
    for found in (victim, kept):
        recorded(records, found)
    authority.publish(now=True, by=by)
    before = number_of(authority)
    authority.index.path.unlink()

    told = recovered(authority, records, by)

    assert told.next_crl == {"root": number_of(authority, "root") + 1, "issuing": before + 1}
    assert told.numbers_only == ()
    assert authority.knows(kept)
    assert authority.is_revoked(victim)
    with pytest.raises(DeviceRefused, match="was revoked"):
        certified(authority, bad)
    assert certified(authority, good) == kept
    authority.publish(now=True, by=by)
    assert number_of(authority) == before + 1
    crl = authority.files.crl("issuing")
    assert crl is not None
    assert [entry.serial_number for entry in crl] == [victim.serial_number]


def test_revocations_of_backup_and_crl_are_put_together_with_the_worse_reason(
    authority: Authority, records: Path, tmp_path: Path, by: Deadline
) -> None:
    first = certified(authority, a_key())
    authority.revoke(first.serial_number, "superseded", by=by)
    backup = tmp_path / "backup.sqlite"
    shutil.copy(authority.index.path, backup)
    authority.revoke(first.serial_number, "keyCompromise", by=by)
    second = certified(authority, a_key())
    authority.revoke(second.serial_number, "privilegeWithdrawn", by=by)
    last, octets = number_of(authority), backup.read_bytes()
    authority.index.path.unlink()

    told = recovered(authority, records, by, backup=backup)

    revoked = {e.number: e.reason for e in authority.index.revoked("device")}
    assert revoked == {
        first.serial_number: "keyCompromise",
        second.serial_number: "privilegeWithdrawn",
    }
    assert [e.number for e in told.numbers_only] == [second.serial_number]
    assert told.next_crl["issuing"] == last + 1
    assert backup.read_bytes() == octets


def test_older_index_that_is_there_is_a_source_and_is_kept_aside(
    authority: Authority, records: Path, by: Deadline
) -> None:
    issued, copy = certified(authority, a_key()), authority.state.with_name("copy.sqlite")
    authority.read_back(issued, by=by)
    shutil.copy(authority.index.path, copy)
    authority.publish(now=True, by=by)
    shutil.copy(copy, authority.index.path)

    recovered(authority, records, by)

    [entry] = authority.index.of_device(SERIAL)
    assert (entry.certificate, entry.status) == (issued, "active")
    [kept] = authority.state.glob("index-*.sqlite")
    assert kept.read_bytes() == copy.read_bytes()


def test_certificate_of_a_record_counts_as_read_back_if_the_record_says_so(
    authority: Authority, records: Path, by: Deadline
) -> None:
    issued = certified(authority, a_key())
    recorded(records, issued, installed=False)
    authority.index.path.unlink()
    recovered(authority, records, by)
    before = [entry.status for entry in authority.index.of_device(SERIAL)]

    recorded(records, issued)
    authority.index.path.unlink()
    recovered(authority, records, by)

    assert before == ["unfinished"]
    assert [entry.status for entry in authority.index.of_device(SERIAL)] == ["active"]


def test_strangers_certificates_among_the_records_are_left_out(
    authority: Authority, records: Path, by: Deadline
) -> None:
    mine = certified(authority, a_key())
    recorded(records, mine)
    place = records / SERIAL / "issued"
    (place / "root.pem").write_bytes(pem(authority.root))
    (place / "noise.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nnoise\n")
    (place / "forged.pem").write_bytes(pem(in_the_name_of(authority.issuing)))
    authority.index.path.unlink()

    told = recovered(authority, records, by)

    assert [e.number for e in told.entries if e.role == "device"] == [mine.serial_number]
    assert [e.certificate for e in told.entries if e.role == "root"] == [authority.root]


def test_whole_index_is_not_recovered(authority: Authority, records: Path, by: Deadline) -> None:
    before = authority.index.path.read_bytes()

    with pytest.raises(Misuse, match="nothing to recover"):
        recovered(authority, records, by)

    assert authority.index.path.read_bytes() == before


@pytest.mark.parametrize("gone", [("root",), ("issuing",), ("root", "issuing")], ids="+".join)
def test_without_a_crl_nobody_knows_what_was_revoked_and_no_index_is_made(
    authority: Authority, records: Path, tmp_path: Path, by: Deadline, gone: tuple[str, ...]
) -> None:
    """Its numbers would begin again, too. A copy from where it is handed out will do."""
    authority.revoke(certified(authority, a_key()).serial_number, "keyCompromise", by=by)
    for role in gone:
        authority.files.crl_path(role).rename(tmp_path / f"{role}.crl")
    authority.index.path.unlink()

    with pytest.raises(Misuse, match=f"{gone[0]}.crl.* what was revoked is not known"):
        recovered(authority, records, by)
    assert not authority.index.exists()

    fetched = [tmp_path / f"{role}.crl" for role in gone]
    found = planned(authority.files, records, crls=fetched)
    assert sum(entry.revoked is not None for entry in found.entries) == 1
    assert min(found.next_crl.values()) > 1


def test_backup_of_another_ca_is_refused(
    authority: Authority, records: Path, tmp_path: Path, by: Deadline
) -> None:
    backup = Index(tmp_path / "index.sqlite")
    backup.create()
    backup.begin(NewRow(7, "issuing", "", "ab"))
    authority.index.path.unlink()

    with pytest.raises(Misuse, match="index of another CA"):
        recovered(authority, records, by, backup=backup.path)

    assert not authority.index.exists()


def test_backup_with_a_certificate_that_the_ca_did_not_sign_is_refused(
    authority: Authority, records: Path, tmp_path: Path, by: Deadline
) -> None:
    forged = in_the_name_of(authority.issuing)
    authority.index.begin(NewRow(forged.serial_number, "device", SERIAL, fingerprint(forged)))
    authority.index.finish(forged)
    backup = tmp_path / "backup.sqlite"
    authority.index.path.rename(backup)

    with pytest.raises(Misuse, match=f"did not sign what the entry {forged.serial_number:x} says"):
        recovered(authority, records, by, backup=backup)

    assert not authority.index.exists()


def in_the_name_of(issuer: x509.Certificate) -> x509.Certificate:
    """A box's certificate that names the CA and was signed by somebody else."""
    key, now = a_key(), datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(device_subject(SERIAL))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(4711)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
