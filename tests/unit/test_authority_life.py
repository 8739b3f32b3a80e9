"""What becomes of a box's certificate after it was issued, on a real SoftHSM token."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from cryptography import x509

from harness.deadline import Deadline
from harness.errors import DeviceRefused, IntegrityFailure, Misuse
from provisioning.authority import Authority
from provisioning.authority_rules import against_the_rules
from provisioning.csr import device_subject
from tests.unit.authority_parts import SERIAL, a_key, certified, request_of


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


def statuses(authority: Authority, serial: str = SERIAL) -> list[str]:
    """Newest first."""
    return [entry.status for entry in authority.index.of_device(serial)]


def replaced(authority: Authority, first: x509.Certificate, by: Deadline) -> x509.Certificate:
    """A certificate of another key, in the place of ``first``."""
    number = first.serial_number
    return authority.certify(request_of(a_key()), SERIAL, days=30, replaces=number, by=by)


def test_certificate_is_active_once_it_was_read_back(authority: Authority, by: Deadline) -> None:
    issued = certified(authority, a_key())
    before = statuses(authority)

    authority.read_back(issued, by=by)

    assert (before, statuses(authority)) == (["unfinished"], ["active"])


def test_renewal_supersedes_only_when_it_was_read_back(authority: Authority, by: Deadline) -> None:
    first = certified(authority, a_key())
    authority.read_back(first, by=by)
    second, _ = authority.renew(SERIAL, now=True, by=by)
    between = statuses(authority), len(authority.good(SERIAL))

    authority.read_back(second, by=by)

    assert between == (["unfinished", "active"], 2)
    assert statuses(authority) == ["active", "superseded"]
    assert not authority.is_revoked(first)


def test_reading_back_again_writes_nothing(authority: Authority, by: Deadline) -> None:
    issued = certified(authority, a_key())
    authority.read_back(issued, by=by)
    before = authority.index.path.read_bytes()

    authority.read_back(issued, by=by)

    assert authority.index.path.read_bytes() == before


def test_strangers_certificate_is_not_read_back(authority: Authority, by: Deadline) -> None:
    certified(authority, a_key())

    assert not authority.knows(authority.issuing)
    with pytest.raises(IntegrityFailure, match="did not issue"):
        authority.read_back(authority.issuing, by=by)


def test_replaced_key_stays_good_until_the_new_one_was_read_back(
    authority: Authority, by: Deadline
) -> None:
    first = certified(authority, a_key())
    authority.read_back(first, by=by)

    second = replaced(authority, first, by)
    between = statuses(authority)
    authority.read_back(second, by=by)

    assert between == ["unfinished", "active"]
    assert statuses(authority) == ["active", "superseded"]


def test_replaced_certificate_that_no_box_ever_showed_is_to_be_revoked(
    authority: Authority, by: Deadline
) -> None:
    replaced(authority, certified(authority, a_key()), by)

    assert statuses(authority) == ["unfinished", "to revoke"]


def test_key_of_a_key_that_was_going_to_be_replaced_needs_to_name_the_last_alone(
    authority: Authority, by: Deadline
) -> None:
    first = certified(authority, a_key())
    authority.read_back(first, by=by)
    second = replaced(authority, first, by)

    third = replaced(authority, second, by)
    authority.read_back(third, by=by)

    assert statuses(authority) == ["active", "to revoke", "superseded"]


def test_what_is_replaced_must_be_a_certificate_of_that_box(
    authority: Authority, by: Deadline
) -> None:
    other = authority.certify(
        request_of(a_key(), device_subject("TB-OTHER")), "TB-OTHER", days=3, by=by
    )

    with pytest.raises(DeviceRefused, match="is no certificate of"):
        replaced(authority, other, by)


@pytest.mark.fault(
    "CA",
    "a box's key has a certificate that is to be revoked",
    comes="DeviceRefused, status 6; the key gets no other certificate",
    then="trustbox ca revoke --pending; with --reason superseded if the key is still good",
)
def test_key_with_a_certificate_to_revoke_gets_no_other(authority: Authority, by: Deadline) -> None:
    key = a_key()
    issued = certified(authority, key)
    authority.to_revoke(issued, "the run ended with 7", by=by)

    with pytest.raises(DeviceRefused, match="that is to be revoked") as refused:
        certified(authority, key)
    assert "ca revoke --pending" in refused.value.diagnostics()

    authority.revoke(issued.serial_number, "superseded", by=by)
    assert certified(authority, key) != issued


@pytest.mark.fault(
    "CA",
    "two labels that differ in the case of their letters",
    comes="DeviceRefused, status 6: they are one serial number, and one box has it",
    then="write it as it stands on the label; revoke the certificate of the other spelling first",
    case="F-07",
)
@pytest.mark.parametrize("same_key", [True, False], ids=["same key", "another key"])
def test_case_of_letters_makes_no_other_serial_number(
    authority: Authority, by: Deadline, same_key: bool
) -> None:
    key, small = a_key(), SERIAL.lower()
    certified(authority, key)
    asked = request_of(key if same_key else a_key(), device_subject(small))

    with pytest.raises(DeviceRefused, match=f"{small} is {SERIAL} here"):
        authority.certify(asked, small, days=30, by=by)

    assert len(authority.index.of_device(small)) == 1


def old_index(authority: Authority) -> None:
    """As the version before had it: no form number, no columns of today."""
    with closing(sqlite3.connect(authority.index.path)) as database:
        database.execute("DROP INDEX certificate_by_device")
        for column in ("run", "replaces", "read_back", "superseded", "to_revoke"):
            database.execute(f"ALTER TABLE certificate DROP COLUMN {column}")
        database.execute("ALTER TABLE crl DROP COLUMN der")
        database.execute("CREATE INDEX certificate_by_device ON certificate (device)")
        database.execute("PRAGMA user_version = 0")
        database.commit()


@pytest.mark.fault(
    "CA",
    "an index of an earlier version has good certificates of two keys for one serial number",
    comes="it opens, ca show lists the box, and only that box is refused (DeviceRefused, status 6)",
    then="revoke the certificate that the box does not have (ca revoke NUMBER)",
)
def test_index_of_the_version_before_opens_and_only_boxes_that_break_a_rule_are_refused(
    authority: Authority, by: Deadline
) -> None:
    keys = a_key(), a_key()
    first = certified(authority, keys[0])
    second = replaced(authority, first, by)
    other = authority.certify(
        request_of(keys[1], device_subject("TB-OTHER")), "TB-OTHER", days=30, by=by
    )
    old_index(authority)

    assert [e.number for e in against_the_rules(authority.index)] == [
        second.serial_number,
        first.serial_number,
    ]
    assert statuses(authority) == ["active", "active"]
    with pytest.raises(DeviceRefused, match="a certificate for another key"):
        certified(authority, keys[0])
    assert authority.renew("TB-OTHER", now=True, by=by)[1]
    assert authority.knows(other)

    authority.revoke(second.serial_number, "superseded", by=by)
    assert certified(authority, keys[0]) == first
    assert against_the_rules(authority.index) == ()


def test_other_key_that_was_not_replaced_is_not_superseded_behind_anybodys_back(
    authority: Authority, by: Deadline
) -> None:
    first = certified(authority, a_key())
    second = replaced(authority, first, by)
    old_index(authority)  # which does not say any more what replaces what

    authority.read_back(second, by=by)

    assert statuses(authority) == ["active", "active"]
    assert len(against_the_rules(authority.index)) == 2


def test_index_of_a_later_version_is_left_alone(authority: Authority) -> None:
    with closing(sqlite3.connect(authority.index.path)) as database:
        database.execute("PRAGMA user_version = 99")
        database.commit()

    with pytest.raises(Misuse, match="is of form 99"):
        certified(authority, a_key())
