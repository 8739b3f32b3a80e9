"""Generations of a key: what is refused before one is made, and what ends a rotation.

SoftHSM2 stands in the TEE's token's place, at the far end of SSH and p11-kit: see host_box.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import DeviceRefused, IntegrityFailure, Misuse
from harness.secret import Secret
from provisioning.key_rotation import generations, retire, rotate
from provisioning.keys import KeySession
from provisioning.token_public import KeyProfile
from provisioning.token_template import KeyTemplate
from tests.links.host_box import host_box
from tests.links.sshd import LocalSshd

LABEL, SO, USER = "generations", Secret(b"so-pin-61209"), Secret(b"user-pin-17730")
DER = b"0\x03\x02\x01\x07"
READABLE = KeyTemplate("readable", {"PRIVATE": True, "SENSITIVE": False, "EXTRACTABLE": True})


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture(scope="module")
def token(
    sshd: LocalSshd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KeySession]:  # fmt: skip
    place: Path = tmp_path_factory.mktemp("box")
    with host_box(sshd, place) as box, closing(KeySession(box.target)) as keys:
        keys.initialise(LABEL, so_pin=SO, user_pin=USER, by=Deadline.after(60))
        keys.login(LABEL, USER, by=Deadline.after(60))
        yield keys


@pytest.fixture
def keys(token: KeySession, by: Deadline) -> Iterator[KeySession]:
    """Empty again after each test."""
    yield token
    for kind, _, id in token.token.objects(by=by):
        token.token.destroy(kind, id, by=by)


def certified(keys: KeySession, number: int, by: Deadline) -> None:
    key, _ = keys.generate("device", generation=number, by=by)
    keys.store_certificate(key, DER, subject=b"0\x00", by=by)


def numbers(keys: KeySession, by: Deadline) -> list[int]:
    return [one.number for one in generations(keys, "device", by=by)]


def test_profile_that_the_ca_does_not_certify_is_refused_before_a_key_is_made(
    keys: KeySession, by: Deadline
) -> None:
    certified(keys, 1, by)

    with pytest.raises(Misuse, match="certifies no ec-p384 key") as refused:
        rotate(keys, "device", KeyProfile.EC_P384, allowed=[KeyProfile.EC_P256], by=by)

    assert "--profile: ec-p256" in refused.value.diagnostics()
    assert numbers(keys, by) == [1]


def test_leftover_of_another_profile_is_kept_until_it_is_to_be_made_anew(
    keys: KeySession, by: Deadline
) -> None:
    """A box that an earlier rotation left with a key that its CA refuses."""
    certified(keys, 1, by)
    rotate(keys, "device", KeyProfile.EC_P384, by=by)

    for profile in (KeyProfile.EC_P256, None):
        with pytest.raises(Misuse) as refused:
            rotate(keys, "device", profile, allowed=[KeyProfile.EC_P256], by=by)
        assert "--anew" in refused.value.diagnostics()
    kept = generations(keys, "device", by=by)[-1]
    _, new = rotate(keys, "device", allowed=[KeyProfile.EC_P256], anew=True, by=by)

    assert (kept.number, kept.key.profile) == (2, KeyProfile.EC_P384)
    assert (new.number, new.key.profile) == (2, KeyProfile.EC_P256)
    assert numbers(keys, by) == [1, 2]


def test_leftover_that_may_be_in_use_is_not_made_anew(keys: KeySession, by: Deadline) -> None:
    keys.generate("device", by=by)
    _, new = rotate(keys, "device", by=by)

    with pytest.raises(Misuse, match="2 of device may be in use") as refused:
        rotate(keys, "device", anew=True, by=by)

    assert new.key.id.hex() in refused.value.diagnostics()
    assert generations(keys, "device", by=by)[-1].key == new.key


def test_leftover_is_proven_again_before_it_is_certified(keys: KeySession, by: Deadline) -> None:
    """The rotation before may have been cut between making the key and proving it."""
    certified(keys, 1, by)
    id = keys.id_of("device", 2)
    keys.token.ensure(id, "device.2", KeyProfile.EC_P256, templates=(READABLE,), by=by)

    with pytest.raises(IntegrityFailure, match="generation 2 of device is not what it must be"):
        rotate(keys, "device", by=by)


def test_rotation_of_a_key_that_nobody_certifies_ends_with_its_retirement(
    keys: KeySession, by: Deadline
) -> None:
    keys.generate("device", by=by)
    rotate(keys, "device", by=by)

    gone = retire(keys, "device", certified=False, by=by)

    assert ([one.number for one in gone], numbers(keys, by)) == ([1], [2])


def test_uncertified_key_does_not_outlive_a_certified_one(keys: KeySession, by: Deadline) -> None:
    certified(keys, 1, by)
    rotate(keys, "device", by=by)

    with pytest.raises(Misuse, match="has no certificate in the token yet"):
        retire(keys, "device", certified=False, by=by)

    assert numbers(keys, by) == [1, 2]


def test_retiring_removes_what_a_cut_left_of_an_old_generation(
    keys: KeySession, by: Deadline
) -> None:
    certified(keys, 1, by)
    certified(keys, 2, by)
    keys.token.destroy("private", keys.id_of("device", 1), by=by)

    retire(keys, "device", by=by)

    assert {id for _, _, id in keys.token.objects(by=by)} == {keys.id_of("device", 2)}


@pytest.mark.parametrize("do", [rotate, retire], ids=["rotate", "retire"])
def test_secret_key_is_not_rotated_and_the_refusal_says_so(
    keys: KeySession, do: object, by: Deadline
) -> None:
    keys.generate_secret("device", by=by)

    with pytest.raises(Misuse, match="is a secret key: it is not certified, and not rotated"):
        (rotate if do is rotate else retire)(keys, "device", by=by)

    assert keys.find_secret("device", by=by) is not None


def test_pair_and_secret_key_never_get_one_id(keys: KeySession, by: Deadline) -> None:
    keys.generate_secret("secret", by=by)
    keys.generate("pair", by=by)

    with pytest.raises(DeviceRefused, match="has a secret key of its id"):
        keys.generate("secret", by=by)
    with pytest.raises(DeviceRefused, match="has a private key of its id"):
        keys.generate_secret("pair", by=by)
