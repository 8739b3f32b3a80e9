"""The factory's CA at work, on a real SoftHSM token."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from harness.deadline import Deadline
from harness.errors import DeadlineExpired, DeviceRefused, IntegrityFailure, Misuse
from provisioning.authority import Authority, locked, open_authority
from provisioning.authority_settings import CaSettings, RoleSettings
from provisioning.authority_tokens import ISSUING_ID
from provisioning.certificates import check_issued, fits, pem
from provisioning.csr import device_subject, make_request
from provisioning.idevid import profile_faults
from provisioning.softhsm import softhsm_token
from provisioning.token import Token
from provisioning.token_key import TokenKey
from provisioning.token_public import KeyProfile
from tests.unit.authority_parts import SERIAL, a_key, request_of

P256 = CaSettings(
    root=RoleSettings("softhsm:line", KeyProfile.EC_P256, 9000),
    issuing=RoleSettings("softhsm:line", KeyProfile.EC_P256, 8000),
    device_keys=(KeyProfile.EC_P256,),
    hardware_type="1.3.6.1.4.1.32473.7",
    crl_days=10,
)


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    made = softhsm_token(tmp_path_factory.mktemp("hsm"), "factory", by=Deadline.after(60))
    yield made
    made.close()


@pytest.fixture
def authority(token: Token, tmp_path: Path, by: Deadline) -> Authority:
    """A CA of its own for each test; all share the token, and with it the keys."""
    return open_authority(token, tmp_path / "ca", settings=P256, by=by)


def certified(
    authority: Authority, key: ec.EllipticCurvePrivateKey, days: int | None = 30
) -> x509.Certificate:
    return authority.certify(request_of(key), SERIAL, days=days, by=Deadline.after(60))


def crl_of(authority: Authority) -> x509.CertificateRevocationList:
    found = authority.files.crl("issuing")
    assert found is not None
    return found


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


def test_second_key_of_a_box_needs_to_be_meant(authority: Authority, by: Deadline) -> None:
    certified(authority, a_key())

    with pytest.raises(DeviceRefused, match="a certificate for another key"):
        authority.certify(request_of(a_key()), SERIAL, days=30, by=by, rekey=False)

    assert authority.certify(request_of(a_key()), SERIAL, days=30, by=by, rekey=True)


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

    assert (new, entry.reason) == (False, "keyCompromise")
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


def test_crl_that_is_damaged_is_made_anew(authority: Authority, by: Deadline) -> None:
    (authority.state / "issuing.crl").write_bytes(b"0\x03nonsense")

    assert authority.publish(by=by)[1]
    assert crl_of(authority).issuer == authority.issuing.subject


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


def test_ca_from_before_the_index_goes_on_with_its_keys_and_certificates(
    authority: Authority, token: Token, tmp_path: Path, by: Deadline
) -> None:
    """Such a CA had root.pem, issuing.pem and one file for each certificate, and nothing else."""
    issued = certified(authority, a_key())
    old = tmp_path / "old"
    (old / "issued").mkdir(parents=True)
    (old / "root.pem").write_bytes(pem(authority.root))
    (old / "issuing.pem").write_bytes(pem(authority.issuing))
    (old / "issued" / "0a.pem").write_bytes(pem(issued))

    found = open_authority(token, old, by=by)

    assert (found.root, found.issuing) == (authority.root, authority.issuing)
    assert [entry.certificate for entry in found.index.of_device(SERIAL)] == [issued]
    assert found.revoke(issued.serial_number, "superseded", by=by)[1]


def test_key_in_a_token_has_no_bytes_to_show(token: Token, by: Deadline) -> None:
    pair, _ = token.ensure(b"a box's key", "device", by=by)

    with pytest.raises(Misuse):
        TokenKey(token, pair, by=by).private_numbers()


def _self_signed(name: x509.Name) -> x509.Certificate:
    key = a_key()
    now = datetime.datetime.now(datetime.UTC)
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
