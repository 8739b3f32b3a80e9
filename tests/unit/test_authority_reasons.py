"""Revoking goes by key, a reason may get worse, and the CRL has all of it."""

from __future__ import annotations

import datetime

import pytest
from cryptography import x509

from harness.deadline import Deadline
from harness.errors import DeviceRefused
from provisioning.authority import Authority
from provisioning.authority_entry import NewRow
from provisioning.authority_reasons import REASONS
from tests.unit.authority_parts import SERIAL, a_key, certified


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


def test_certificate_that_was_begun_and_never_finished_is_revoked_by_its_number(
    authority: Authority, by: Deadline
) -> None:
    """A power cut between the signature and its row: the signed one may be in a crash dump."""
    authority.index.begin(NewRow(4711, "device", SERIAL, "ab"))

    authority.revoke(4711, "unspecified", by=by)

    crl = authority.files.crl("issuing")
    assert crl is not None
    assert [entry.serial_number for entry in crl] == [4711]
    assert [entry.status for entry in authority.index.of_device(SERIAL)] == ["revoked"]


def test_revoking_goes_by_key_unless_it_is_superseded(authority: Authority, by: Deadline) -> None:
    first = certified(authority, a_key())
    second, _ = authority.renew(SERIAL, now=True, by=by)

    authority.revoke(first.serial_number, "superseded", by=by)
    alone = authority.is_revoked(second)
    _, changed = authority.revoke(first.serial_number, "keyCompromise", by=by)

    assert not alone
    assert {entry.number for entry in changed} == {first.serial_number, second.serial_number}
    crl = authority.files.crl("issuing")
    assert crl is not None
    flags = {r.extensions.get_extension_for_class(x509.CRLReason).value.reason for r in crl}
    assert (len(crl), flags) == (2, {x509.ReasonFlags.key_compromise})


@pytest.mark.fault(
    "CA",
    "a certificate is revoked again, for a worse reason",
    comes="the worse reason counts, the key gets no certificate, the new CRL says so; a better one"
    " changes nothing",
    then="nothing: the first date stays",
)
@pytest.mark.parametrize("worse", [name for name in REASONS if name != "superseded"])
def test_reason_gets_worse_and_never_better(authority: Authority, by: Deadline, worse: str) -> None:
    key, names = a_key(), list(REASONS)
    number = certified(authority, key).serial_number
    authority.revoke(number, names[names.index(worse) - 1], by=by)
    at = authority.revoke(number, worse, by=by)[0].revoked

    entry, changed = authority.revoke(number, "superseded", by=by)

    assert (entry.reason, entry.revoked, changed) == (worse, at, ())
    with pytest.raises(DeviceRefused, match="was revoked"):
        certified(authority, key)
    crl = authority.files.crl("issuing")
    assert crl is not None
    [listed] = crl
    assert listed.revocation_date_utc <= crl.last_update_utc
    if worse != "unspecified":
        assert (
            listed.extensions.get_extension_for_class(x509.CRLReason).value.reason is REASONS[worse]
        )


def test_crl_is_never_older_than_a_revocation_that_it_has(
    authority: Authority, by: Deadline
) -> None:
    issued = certified(authority, a_key())
    ahead = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=700)
    authority.index.revoke(issued.serial_number, "keyCompromise", ahead)  # the clock was wrong

    authority.publish(now=True, by=by)

    crl, now = authority.files.crl("issuing"), datetime.datetime.now(datetime.UTC)
    assert crl is not None
    [listed] = crl
    assert listed.revocation_date_utc <= crl.last_update_utc <= now
