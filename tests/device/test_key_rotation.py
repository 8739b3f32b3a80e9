"""A key's next generation: made beside the old one, which stays until the new one is certified."""

from __future__ import annotations

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.key_rotation import generations, retire, rotate
from provisioning.keys import KeySession
from provisioning.token_public import KeyProfile

pytestmark = pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE, Capability.RESTORE)

DER = b"0\x03\x02\x01\x07"


def certify(keys: KeySession, number: int, by: Deadline) -> None:
    key = keys.find("device", generation=number, by=by)
    assert key is not None
    keys.store_certificate(key, DER, subject=b"0\x00", by=by)


def numbers(keys: KeySession, by: Deadline) -> list[int]:
    return [one.number for one in generations(keys, "device", by=by)]


def test_old_key_stays_until_the_new_one_is_certified(held_keys: KeySession, by: Deadline) -> None:
    held_keys.generate("device", by=by)
    certify(held_keys, 1, by)

    old, new = rotate(held_keys, "device", KeyProfile.EC_P384, by=by)
    with pytest.raises(Misuse, match="has no certificate in the token yet"):
        retire(held_keys, "device", by=by)
    both = numbers(held_keys, by)
    certify(held_keys, 2, by)
    gone = retire(held_keys, "device", by=by)

    assert (old.number, new.number, both) == (1, 2, [1, 2])
    assert (old.key.label, new.key.label) == ("device", "device.2")  # IoT Edge goes by labels
    assert new.key.profile is KeyProfile.EC_P384
    assert [one.number for one in gone] == [1]
    assert numbers(held_keys, by) == [2]
    assert held_keys.certificates(new.key, by=by) == (DER,)


def test_rotation_that_was_cut_short_is_gone_on_with(held_keys: KeySession, by: Deadline) -> None:
    held_keys.generate("device", by=by)
    _, first = rotate(held_keys, "device", by=by)

    _, again = rotate(held_keys, "device", by=by)

    assert again == first
    assert numbers(held_keys, by) == [1, 2]


def test_third_generation_waits_for_the_first_to_be_retired(
    held_keys: KeySession, by: Deadline
) -> None:
    held_keys.generate("device", by=by)
    rotate(held_keys, "device", by=by)
    certify(held_keys, 2, by)

    with pytest.raises(Misuse, match="1 is not retired"):
        rotate(held_keys, "device", by=by)


def test_key_that_is_not_there_is_not_rotated(held_keys: KeySession, by: Deadline) -> None:
    with pytest.raises(Misuse, match="no key device"):
        rotate(held_keys, "device", by=by)
