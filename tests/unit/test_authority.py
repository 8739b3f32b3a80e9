"""The factory's CA at work, on a real SoftHSM token."""

from __future__ import annotations

import datetime
import threading
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, DeviceRefused, IntegrityFailure, Misuse
from provisioning.authority import Authority
from provisioning.authority_lock import locked
from provisioning.authority_open import open_authority
from provisioning.authority_tokens import ISSUING_ID
from provisioning.certificates import check_issued, fits
from provisioning.csr import device_subject, make_request
from provisioning.softhsm import softhsm_token
from provisioning.token import Token
from provisioning.token_key import TokenKey
from tests.unit.authority_parts import SERIAL, a_key, certified, request_of


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


def test_request_signed_in_a_token_is_certified(
    authority: Authority, token: Token, by: Deadline
) -> None:
    pair, _ = token.ensure(b"a box's key", "device", by=by)
    request = make_request(TokenKey(token, pair, by=by), SERIAL)

    issued = authority.certify(request, SERIAL, days=30, by=by)

    check_issued(
        issued, key=pair.public_key, serial=SERIAL, issuing=authority.issuing, root=authority.root
    )


def test_certificate_without_end_is_good(authority: Authority) -> None:
    key = a_key()

    issued = certified(authority, key, days=None)

    assert issued.not_valid_after_utc.year == 9999
    check_issued(
        issued, key=key.public_key(), serial=SERIAL, issuing=authority.issuing, root=authority.root
    )


def test_another_root_does_not_vouch_for_the_certificate(authority: Authority) -> None:
    key = a_key()
    issued = certified(authority, key)
    stranger = _self_signed(authority.root.subject)

    with pytest.raises(IntegrityFailure, match="path does not verify"):
        check_issued(
            issued, key=key.public_key(), serial=SERIAL, issuing=authority.issuing, root=stranger
        )


@pytest.mark.case("N-47")
def test_certificate_for_another_box_is_not_this_ones(authority: Authority) -> None:
    key = a_key()
    issued = certified(authority, key)

    with pytest.raises(IntegrityFailure, match="subject"):
        check_issued(
            issued,
            key=key.public_key(),
            serial="TB-TEST-0002",
            issuing=authority.issuing,
            root=authority.root,
        )


def test_asking_again_for_the_same_key_gives_the_same_certificate(authority: Authority) -> None:
    key = a_key()

    assert certified(authority, key) == certified(authority, key)


@pytest.mark.parametrize(("hours", "serves"), [(0, True), (21, True), (22, False), (25, False)])
def test_certificate_about_to_end_serves_no_more(
    authority: Authority, hours: int, serves: bool
) -> None:
    key = a_key()
    issued = certified(authority, key, days=1)
    at = issued.not_valid_after_utc - datetime.timedelta(days=1) + datetime.timedelta(hours=hours)

    found = fits(issued, key=key.public_key(), serial=SERIAL, issuing=authority.issuing, at=at)

    assert found is serves


def test_opening_the_authority_again_finds_the_same_ca(
    authority: Authority, token: Token, by: Deadline
) -> None:
    again = open_authority(token, authority.state, by=by)

    assert (again.root, again.issuing) == (authority.root, authority.issuing)
    assert again.settings == authority.settings


def test_root_is_not_opened_once_the_ca_is_made(
    authority: Authority, token: Token, by: Deadline
) -> None:
    def in_the_safe() -> AbstractContextManager[Token]:
        raise AssertionError("the root's token was opened")

    again = open_authority(token, authority.state, root=in_the_safe, by=by)

    assert certified(again, a_key()).issuer == authority.issuing.subject


@pytest.mark.fault(
    "CA",
    "the issuing CA's key is lost: its token was wiped or exchanged",
    comes="IntegrityFailure, status 7, of every command that signs; no key is made in its place",
    then="bring back the token or its backup; if there is none, revoke the issuing CA and set up"
    " another one under the same root (docs/factory-ca.md)",
    case="F-05",
)
def test_ca_whose_token_lost_the_key_is_an_integrity_failure(
    authority: Authority, tmp_path: Path, by: Deadline
) -> None:
    """It is not made anew by itself: boxes in the field know the old one."""
    other = softhsm_token(tmp_path / "other", "factory", by=by)
    try:
        with pytest.raises(IntegrityFailure, match="does not hold the key"):
            open_authority(other, authority.state, by=by)
        other.ensure(ISSUING_ID, "another key", by=by)
        with pytest.raises(IntegrityFailure, match="is not that of"):
            open_authority(other, authority.state, by=by)
    finally:
        other.close()


@pytest.mark.parametrize("days", [-3, 3], ids=["over", "not begun"])
def test_issuing_ca_that_is_not_good_now_certifies_nobody(authority: Authority, days: int) -> None:
    """Its time is over, or this machine's clock is wrong."""
    start = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)
    other = replace(authority, issuing=_self_signed(authority.issuing.subject, start))

    with pytest.raises(Misuse, match="and not now"):
        certified(other, a_key())


def test_request_that_breaks_the_policy_gets_nothing_and_leaves_no_entry(
    authority: Authority, by: Deadline
) -> None:
    p384 = ec.generate_private_key(ec.SECP384R1())

    with pytest.raises(DeviceRefused, match="none of ec-p256"):
        authority.certify(request_of(p384), SERIAL, days=30, by=by)

    assert authority.index.of_device(SERIAL) == ()


def test_key_that_two_boxes_show_is_an_integrity_failure(
    authority: Authority, by: Deadline
) -> None:
    key = a_key()
    certified(authority, key)
    with pytest.raises(IntegrityFailure, match="two boxes have one key"):
        other = request_of(key, device_subject("TB-TEST-0002"))
        authority.certify(other, "TB-TEST-0002", days=30, by=by)


def test_second_key_of_a_box_gets_nothing_unless_it_says_what_it_replaces(
    authority: Authority, by: Deadline
) -> None:
    first = certified(authority, a_key())
    asked = request_of(a_key())

    with pytest.raises(DeviceRefused, match="a certificate for another key"):
        authority.certify(asked, SERIAL, days=30, by=by)

    assert authority.certify(asked, SERIAL, days=30, replaces=first.serial_number, by=by)


def test_two_who_ask_at_once_get_one_certificate(authority: Authority) -> None:
    key, found = a_key(), list[x509.Certificate]()
    threads = [
        threading.Thread(target=lambda: found.append(certified(authority, key))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({certificate.serial_number for certificate in found}) == 1
    assert len(found) == 4
    assert len(authority.index.of_device(SERIAL)) == 1


def test_ca_that_somebody_holds_is_waited_for_and_then_said(authority: Authority) -> None:
    with (
        locked(authority.state, Deadline.after(5)),
        pytest.raises(DeadlineExpired, match="the lock on the factory's CA"),
        locked(authority.state, Deadline.after(0.2)),
    ):
        raise AssertionError("two hold the lock")


def test_key_in_a_token_has_no_bytes_to_show(token: Token, by: Deadline) -> None:
    pair, _ = token.ensure(b"a box's key", "device", by=by)

    with pytest.raises(Misuse):
        TokenKey(token, pair, by=by).private_numbers()


def _self_signed(name: x509.Name, now: datetime.datetime | None = None) -> x509.Certificate:
    """Good from a day before ``now`` to a day after it."""
    key = a_key()
    now = now or datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .sign(key, hashes.SHA256())
    )
