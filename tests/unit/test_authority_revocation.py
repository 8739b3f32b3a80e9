"""Renewal, revocation and CRLs, on a real SoftHSM token."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from cryptography import x509

from harness.deadline import Deadline
from harness.errors import DeviceRefused, Misuse
from provisioning.authority import Authority
from provisioning.authority_entry import NewRow
from provisioning.authority_life import fingerprint
from provisioning.authority_open import open_authority
from provisioning.authority_publish import crl_number
from provisioning.authority_signing import crl_is_due
from provisioning.idevid import profile_faults
from provisioning.token import Token
from tests.unit.authority_parts import P256, SERIAL, a_key, certified


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


def crl_of(authority: Authority) -> x509.CertificateRevocationList:
    found = authority.files.crl("issuing")
    assert found is not None
    return found


def test_certificate_that_is_young_is_not_renewed(authority: Authority, by: Deadline) -> None:
    issued = certified(authority, a_key())

    assert authority.renew(SERIAL, by=by) == (issued, False)


def test_renewal_keeps_key_and_name_and_gives_a_new_number(
    authority: Authority, by: Deadline
) -> None:
    issued = certified(authority, a_key())

    again, new = authority.renew(SERIAL, now=True, by=by)

    assert new
    assert (again.public_key(), again.subject) == (issued.public_key(), issued.subject)
    assert again.serial_number != issued.serial_number
    assert again.not_valid_after_utc >= issued.not_valid_after_utc
    assert profile_faults(again, SERIAL) == ()


def test_box_without_certificate_cannot_be_renewed(authority: Authority, by: Deadline) -> None:
    with pytest.raises(DeviceRefused, match="no certificate that could be renewed"):
        authority.renew("TB-NOBODY", by=by)


def test_revoked_certificate_is_in_the_crl_with_its_reason(
    authority: Authority, by: Deadline
) -> None:
    issued = certified(authority, a_key())
    before = crl_of(authority).extensions.get_extension_for_class(x509.CRLNumber).value

    authority.revoke(issued.serial_number, "keyCompromise", by=by)

    crl = crl_of(authority)
    entry = crl.get_revoked_certificate_by_serial_number(issued.serial_number)
    assert entry is not None
    reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    assert reason is x509.ReasonFlags.key_compromise
    assert crl.is_signature_valid(authority.issuing.public_key())  # type: ignore[arg-type]
    after = crl.extensions.get_extension_for_class(x509.CRLNumber).value
    assert after.crl_number == before.crl_number + 1
    assert authority.is_revoked(issued)


def test_crl_says_when_the_next_one_comes(authority: Authority) -> None:
    crl = crl_of(authority)

    assert crl.next_update_utc is not None
    life = crl.next_update_utc - crl.last_update_utc
    assert life == datetime.timedelta(days=10, minutes=10)


def test_revoking_twice_changes_nothing(authority: Authority, by: Deadline) -> None:
    issued = certified(authority, a_key())
    authority.revoke(issued.serial_number, "keyCompromise", by=by)
    before = crl_of(authority)

    entry, new = authority.revoke(issued.serial_number, "superseded", by=by)

    assert (new, entry.reason) == ((), "keyCompromise")
    assert crl_of(authority) == before


def test_revocation_that_was_cut_short_is_completed(authority: Authority, by: Deadline) -> None:
    """The index had it, the CRL did not."""
    issued = certified(authority, a_key())
    at = datetime.datetime.now(datetime.UTC)
    authority.index.revoke(issued.serial_number, "keyCompromise", at)

    authority.revoke(issued.serial_number, "keyCompromise", by=by)

    assert crl_of(authority).get_revoked_certificate_by_serial_number(issued.serial_number)


def test_revoked_key_gets_no_certificate_any_more(authority: Authority, by: Deadline) -> None:
    key = a_key()
    authority.revoke(certified(authority, key).serial_number, "keyCompromise", by=by)

    with pytest.raises(DeviceRefused, match="was revoked"):
        certified(authority, key)
    with pytest.raises(DeviceRefused, match="no certificate that could be renewed"):
        authority.renew(SERIAL, now=True, by=by)


def test_superseded_certificate_leaves_its_key_good(authority: Authority, by: Deadline) -> None:
    key = a_key()
    first = certified(authority, key)
    authority.revoke(first.serial_number, "superseded", by=by)

    assert certified(authority, key) != first


@pytest.mark.parametrize("reason", ["", "certificateHold", "removeFromCRL", "because"])
def test_reason_that_is_none_is_refused(authority: Authority, by: Deadline, reason: str) -> None:
    issued = certified(authority, a_key())

    with pytest.raises(Misuse, match="is no reason"):
        authority.revoke(issued.serial_number, reason, by=by)

    assert not authority.is_revoked(issued)


def test_only_boxes_certificates_of_this_ca_are_revoked(authority: Authority, by: Deadline) -> None:
    for number in (4711, authority.issuing.serial_number):
        with pytest.raises(DeviceRefused, match="issued no certificate"):
            authority.revoke(number, "keyCompromise", by=by)


def test_crl_that_is_young_is_left_as_it_is(authority: Authority, by: Deadline) -> None:
    before = crl_of(authority)

    assert authority.publish(by=by) == (authority.state / "issuing.crl", False)
    assert crl_of(authority) == before
    assert authority.publish(now=True, by=by)[1]
    assert crl_of(authority) != before


@pytest.mark.fault(
    "CA",
    "the published CRL is damaged",
    comes="Misuse, status 2: whether the index is behind it is not known; nothing is signed",
    then="bring the CRL back from where it is handed out, or delete it and run trustbox ca init",
)
def test_damaged_crl_stops_everything_until_somebody_says_that_it_is_gone(
    authority: Authority, token: Token, by: Deadline
) -> None:
    place, before = authority.state / "issuing.crl", crl_of(authority)
    place.write_bytes(b"0\x03nonsense")
    with pytest.raises(Misuse, match=r"issuing\.crl cannot be read"):
        authority.publish(now=True, by=by)
    with pytest.raises(Misuse, match=r"issuing\.crl cannot be read"):
        certified(authority, a_key())

    place.unlink()
    open_authority(token, authority.state, make=P256, by=by)

    assert crl_number(crl_of(authority)) == crl_number(before) + 1


@pytest.mark.fault(
    "CA",
    "this machine's clock was ahead for one ca renew --crl",
    comes="the CRL is of the future, so it is due: the next ca renew --crl makes another",
    then="nothing, where a daily timer runs it",
)
def test_crl_of_the_future_is_due(authority: Authority) -> None:
    crl = crl_of(authority)
    minute = datetime.timedelta(minutes=1)

    assert crl_is_due(crl, (), at=crl.last_update_utc - minute)
    assert not crl_is_due(crl, (), at=crl.last_update_utc + minute)


def test_certificate_of_another_hardware_type_is_not_given_again(
    authority: Authority, by: Deadline
) -> None:
    key = a_key()
    first = certified(authority, key)
    settings = replace(authority.settings, hardware_type="1.3.6.1.4.1.32473.8")

    again = certified(replace(authority, settings=settings), key)

    assert again != first
    assert profile_faults(again, SERIAL, hardware_type="1.3.6.1.4.1.32473.8") == ()
    assert "hardware type" in profile_faults(first, SERIAL, hardware_type="1.3.6.1.4.1.32473.8")[0]


def test_issuing_ca_is_revoked_with_any_certificate_of_its_key(
    authority: Authority, by: Deadline
) -> None:
    """An earlier version revoked the newest alone; who opened it before holds another one."""
    leaf = certified(authority, a_key())
    authority.index.begin(NewRow(4711, "issuing", "", fingerprint(authority.issuing)))
    before = authority.is_revoked(leaf)
    authority.index.revoke(4711, "cACompromise", datetime.datetime.now(datetime.UTC))

    assert (before, authority.is_revoked(leaf)) == (False, True)
    with pytest.raises(Misuse, match="was revoked and certifies nobody"):
        authority.renew(SERIAL, now=True, by=by)
