"""What recovering an index makes of CRLs and files that are not what they were taken for."""

from __future__ import annotations

import datetime
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from harness.deadline import Deadline
from harness.errors import BadInput, Misuse
from provisioning.authority import Authority
from provisioning.authority_keys import signer_of
from provisioning.authority_lock import locked
from provisioning.authority_open import open_authority
from provisioning.authority_publish import crl_number
from provisioning.authority_recover import carried_out, planned
from provisioning.authority_tokens import ROOT_ID, key_id
from tests.unit.authority_parts import P256, a_key, certified


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    made = tmp_path / "records"
    made.mkdir()
    return made


def number_of(authority: Authority, role: str = "issuing") -> int:
    crl = authority.files.crl(role)
    assert crl is not None
    return crl_number(crl)


def roots_crl(authority: Authority, number: int, revoked: int, by: Deadline) -> bytes:
    """Signed by the root, it names the issuing CA's certificate ``revoked``."""
    wanted = key_id(authority.settings.root.token, ROOT_ID)
    signer = signer_of(authority.token, wanted, authority.root, by)
    now = datetime.datetime.now(datetime.UTC)
    entry = replace(
        authority.index.of_role("issuing")[0], number=revoked, revoked=now, reason="cACompromise"
    )
    made = signer.revocation_list(authority.root, (entry,), number=number, days=10, by=by)
    return made.public_bytes(serialization.Encoding.DER)


@pytest.mark.fault(
    "CA",
    "the index is recovered with a root.crl that revokes the root's other, lost issuing CA",
    comes="that one's number is kept, and this issuing CA stays good; one that the CRL names itself"
    " stays revoked",
    then="nothing; the root CRL of this station names the lost one from now on",
)
def test_roots_crl_revokes_the_issuing_ca_that_it_names_and_no_other(
    authority: Authority, records: Path, tmp_path: Path, by: Deadline
) -> None:
    """The station that came after a lost issuing CA has the same root (docs/factory-ca.md)."""
    published = tmp_path / "handed-out.crl"
    for revoked, bad in ((4711, False), (authority.issuing.serial_number, True)):
        published.write_bytes(roots_crl(authority, 99, revoked, by))
        authority.index.path.unlink()
        found = planned(authority.files, records, crls=[published])
        with locked(authority.state, by):
            carried_out(authority.files, found)
        assert authority.is_revoked(authority.issuing) == bad
        assert revoked in authority.index.revoked_numbers("issuing")


def test_crl_in_the_cas_directory_counts_where_another_has_its_number(
    authority: Authority, records: Path, tmp_path: Path, by: Deadline
) -> None:
    """Each command compares it with the index: with the other one none would go on."""
    other = tmp_path / "other.crl"
    other.write_bytes(roots_crl(authority, number_of(authority, "root"), 4711, by))
    authority.index.path.unlink()

    found = planned(authority.files, records, crls=[other])
    with locked(authority.state, by):
        carried_out(authority.files, found)

    assert authority.publish(now=True, by=by)[1]
    assert 4711 in authority.index.revoked_numbers("issuing")


@pytest.mark.fault(
    "CA",
    "all of ca/ was restored from an old backup, and a newer CRL is handed out",
    comes="the station cannot know it; trustbox ca recover --crl FILE, with the CRL that is handed"
    " out, takes its number and its revocations",
    then="publish a CRL (ca renew --crl --now)",
)
def test_newer_crl_is_taken_where_all_of_the_directory_is_an_old_copy(
    authority: Authority, records: Path, tmp_path: Path, by: Deadline
) -> None:
    victim, old = certified(authority, a_key()), tmp_path / "old"
    shutil.copytree(authority.state, old)
    authority.revoke(victim.serial_number, "keyCompromise", by=by)
    handed_out, last = tmp_path / "issuing.crl", number_of(authority)
    shutil.copy(authority.files.crl_path("issuing"), handed_out)
    with pytest.raises(Misuse, match="nothing to recover"):
        planned(authority.files, records, crls=[handed_out])
    shutil.copytree(old, authority.state, dirs_exist_ok=True)

    with locked(authority.state, by):
        carried_out(authority.files, planned(authority.files, records, crls=[handed_out]))

    assert authority.is_revoked(victim)
    authority.publish(now=True, by=by)
    assert number_of(authority) == last + 1


def test_backup_that_cannot_be_read_is_named_as_it_was_given(
    authority: Authority, records: Path, tmp_path: Path, by: Deadline
) -> None:
    junk = tmp_path / "backup.sqlite"
    junk.write_bytes(b"no database " * 100)
    authority.index.path.unlink()

    with pytest.raises(Misuse, match=f"^{junk} cannot be used") as caught:
        planned(authority.files, records, backup=junk)
    assert "another copy" in caught.value.hint


def test_damaged_index_that_is_there_is_said_to_tell_nothing(
    authority: Authority, records: Path, by: Deadline
) -> None:
    authority.index.path.write_bytes(b"no database " * 100)

    told = planned(authority.files, records)

    assert any("nothing of the index that is there" in said for said in told.sources)


def test_mistyped_directory_of_certificates_is_refused(
    authority: Authority, records: Path, tmp_path: Path
) -> None:
    """Passed over, it would be certificates that nobody misses."""
    with pytest.raises(Misuse, match="is no directory"):
        planned(authority.files, records, also=[tmp_path / "recrods"])


def test_pipe_among_the_records_is_not_waited_for(
    authority: Authority, records: Path, by: Deadline
) -> None:
    os.mkfifo(records / "device.pem")
    authority.index.path.unlink()

    assert planned(authority.files, records).issuing == authority.issuing


@pytest.mark.parametrize("role", ["root", "issuing"])
def test_damaged_certificate_of_the_ca_comes_back_as_the_message_says(
    authority: Authority, role: str, by: Deadline
) -> None:
    place = authority.state / f"{role}.pem"
    whole = place.read_bytes()
    place.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(BadInput, match="damaged") as caught:
        authority.publish(now=True, by=by)
    assert "trustbox ca init" in caught.value.hint
    place.unlink()
    open_authority(authority.token, authority.state, make=P256, by=by)

    assert place.read_bytes() == whole


def test_recovery_that_failed_ends_in_the_journal(
    authority: Authority, records: Path, by: Deadline
) -> None:
    authority.index.path.unlink()
    found = planned(authority.files, records)
    (authority.state / ".index.recovered").mkdir()

    with locked(authority.state, by), pytest.raises(Misuse):
        carried_out(authority.files, found)

    last = (authority.state / "ceremony.jsonl").read_text().splitlines()[-1]
    assert (json.loads(last)["step"], json.loads(last)["phase"]) == ("recover", "failed")
    assert not authority.index.exists()
