"""Found, absent and unknown: what could not be told is never "this box cannot do that"."""

from __future__ import annotations

import pytest

from harness.capability import Capability
from harness.errors import (
    DeadlineExpired,
    DeviceRefused,
    IntegrityFailure,
    LinkLost,
    MissingCapability,
    TeeRefused,
    TrustBoxError,
)
from harness.target import Console, Target, World
from harness.tee_codes import TeeCode, TeeOrigin, name_of
from harness.tee_supplicant import NoSupplicant
from harness.tee_trouble import StorageDamaged, of_storage, of_token, says_no
from tests.unit.test_run import NoBox


def refused(code: TeeCode, origin: TeeOrigin = TeeOrigin.TEE) -> TeeRefused:
    return TeeRefused("opening", code, origin, name=name_of(code))


def box(**unknown: TrustBoxError) -> Target:
    consoles: dict[World, Console] = {}
    return Target(
        name="box",
        serial="TB-1",
        capabilities=frozenset({Capability.TEE}),
        shell=NoBox(),
        streams=None,
        consoles=consoles,
        rig=NoBox(),
        unknown={Capability[name]: problem for name, problem in unknown.items()},
    )


def test_a_command_that_needs_what_is_unknown_ends_with_what_kept_it_from_being_told() -> None:
    damaged = StorageDamaged("its storage is damaged", refused(TeeCode.CORRUPT_OBJECT))
    target = box(PKCS11=damaged)

    with pytest.raises(StorageDamaged) as caught:
        target.require(Capability.ATTESTATION, Capability.PKCS11)

    assert caught.value is damaged
    assert caught.value.exit_status == 7


def test_what_is_unknown_is_not_missing_and_no_other_need_suffers() -> None:
    target = box(PKCS11=LinkLost("gone"))

    target.require(Capability.TEE)
    assert target.missing((Capability.PKCS11, Capability.TEE)) == []
    with pytest.raises(MissingCapability):
        target.require(Capability.ATTESTATION)


@pytest.mark.parametrize(
    "code", [TeeCode.CORRUPT_OBJECT, TeeCode.STORAGE_NOT_AVAILABLE, TeeCode.SECURITY]
)
def test_the_tees_own_code_for_its_storage_is_kept(code: TeeCode) -> None:
    found = of_storage(refused(code))

    assert isinstance(found, StorageDamaged)
    assert f"0x{code:08x}" in found.message
    assert not says_no(found)


@pytest.mark.parametrize(
    ("code", "origin", "told"),
    [
        (TeeCode.SECURITY, TeeOrigin.TRUSTED_APP, "ends at its start with 0xffff000f"),
        (TeeCode.CORRUPT_OBJECT, TeeOrigin.TRUSTED_APP, "ends at its start with 0xf0100001"),
        (TeeCode.SECURITY, TeeOrigin.TEE, "does not load the PKCS#11 TA"),
    ],
)
def test_a_token_that_cannot_start_is_told_from_a_ta_that_is_refused(
    code: TeeCode, origin: TeeOrigin, told: str
) -> None:
    found = of_token(refused(code, origin))

    assert isinstance(found, IntegrityFailure)
    assert told in found.message


def test_a_supplicant_that_went_away_meanwhile_is_named() -> None:
    assert isinstance(of_storage(refused(TeeCode.COMMUNICATION, TeeOrigin.COMMS)), NoSupplicant)


@pytest.mark.parametrize(
    ("problem", "no"),
    [
        (refused(TeeCode.ITEM_NOT_FOUND), True),
        (refused(TeeCode.NOT_SUPPORTED), True),
        (DeviceRefused("this is no TEE"), True),
        (refused(TeeCode.OUT_OF_MEMORY), False),
        (refused(TeeCode.BUSY), False),
        (NoSupplicant("nobody"), False),
        (LinkLost("gone"), False),
        (DeadlineExpired("an answer", 10.0), False),
    ],
)
def test_only_a_no_is_taken_for_a_no(problem: TrustBoxError, no: bool) -> None:
    assert says_no(problem) is no
