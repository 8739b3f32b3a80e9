"""A lost index is made again: which CRLs count, and whom the root's revokes."""

from __future__ import annotations

import datetime
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.authority import Authority
from provisioning.authority_keys import signer_of
from provisioning.authority_lock import locked
from provisioning.authority_recover import carried_out, planned
from provisioning.authority_tokens import ROOT_ID, key_id
from tests.unit.authority_parts import a_key, certified, number_of


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    made = tmp_path / "records"
    made.mkdir()
    return made


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
