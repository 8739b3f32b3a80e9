"""The CA's disk is full: nothing is given out that its index does not have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DiskFailed
from provisioning.authority import Authority
from provisioning.authority_entry import Entry
from provisioning.authority_open import open_authority
from provisioning.authority_publish import crl_number
from provisioning.authority_recover import carried_out, planned
from provisioning.softhsm import softhsm_token
from tests.small_disk import fill, small_disk
from tests.unit.authority_parts import P256, SERIAL, a_key, certified

pytestmark = pytest.mark.slow
MANY = 2000
"""Revoked certificates: their CRL has about 100 KiB."""


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture
def full(tmp_path: Path, by: Deadline) -> Iterator[tuple[Authority, Path]]:
    """A CA on a small disk of its own; its token is on another one."""
    token = softhsm_token(tmp_path / "hsm", "factory", by=by)
    with small_disk(tmp_path / "disk", 4096) as disk:
        yield open_authority(token, disk / "ca", make=P256, by=by), disk
    token.close()


def at_the_crl(name: str) -> pytest.MarkDecorator:
    return pytest.mark.fault(
        "Station's disk",
        f"full while the CA {name}",
        comes="DiskFailed, status 8; nothing is given out, and what the index has it keeps",
        then="make room, then run the same again: it is completed",
    )


@at_the_crl("certifies a box")
def test_full_disk_certifies_nobody_and_the_next_try_does(
    full: tuple[Authority, Path],
) -> None:
    (authority, disk), key = full, a_key()
    before = authority.index.path.read_bytes()
    fill(disk)

    with pytest.raises(DiskFailed, match="No space left"):
        certified(authority, key)

    assert authority.index.path.read_bytes() == before
    (disk / ".ballast").unlink()
    made = certified(authority, key)
    assert [entry.certificate for entry in authority.good(SERIAL)] == [made]


@at_the_crl("publishes a CRL")
def test_revocation_whose_crl_found_no_room_stands_and_is_completed(
    full: tuple[Authority, Path], by: Deadline
) -> None:
    authority, disk = full
    victim = certified(authority, a_key())
    authority.index.restore([_revoked(authority, 1000 + n) for n in range(MANY)], [])
    authority.publish(by=by)
    published = authority.files.crl("issuing")
    assert published is not None
    fill(disk, leave=65536)

    with pytest.raises(DiskFailed, match="No space left"):
        authority.revoke(victim.serial_number, "keyCompromise", by=by)

    assert authority.is_revoked(victim)
    assert authority.files.crl("issuing") == published
    (disk / ".ballast").unlink()
    authority.publish(by=by)
    after = authority.files.crl("issuing")
    assert after is not None
    assert after.get_revoked_certificate_by_serial_number(victim.serial_number)
    assert (len(after), crl_number(after) > crl_number(published)) == (MANY + 1, True)


@at_the_crl("makes a lost index anew")
def test_recovery_without_room_leaves_what_was_there(
    full: tuple[Authority, Path], by: Deadline
) -> None:
    authority, disk = full
    authority.index.restore([_revoked(authority, 1000 + n) for n in range(MANY)], [])
    authority.publish(by=by)
    authority.index.path.unlink()
    found = planned(authority.files, disk / "records")
    fill(disk, leave=65536)

    with pytest.raises(DiskFailed, match="No space left"):
        carried_out(authority.files, found)

    assert not authority.index.exists()
    (disk / ".ballast").unlink()
    carried_out(authority.files, found)
    assert len(authority.index.revoked("device")) == MANY


def _revoked(authority: Authority, number: int) -> Entry:
    [one] = authority.index.of_role("root")
    wide = number << 128
    nothing = replace(one, number=wide, role="device", spki="", certificate=None, issued=None)
    return replace(nothing, revoked=datetime.now(UTC), reason="keyCompromise")
