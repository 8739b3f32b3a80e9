"""New PINs that this station keeps: durable before use, and gone on with after a cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import LinkLost, Misuse, TokenRefused
from harness.secret import Secret
from provisioning.keys import KeySession
from provisioning.pin_change import change_kept_pins, is_pending, kept_pins, unblock_kept_pin
from provisioning.pins import Pins
from provisioning.token_state import TokenState
from tests.device.key_parts import LABEL, OTHER, SO, USER

pytestmark = pytest.mark.needs(Capability.PKCS11, Capability.PKCS11_REMOTE, Capability.RESTORE)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "pins.toml"
    Pins(so=SO, user=USER).save(made)
    return made


def waiting(file: Path) -> Path:
    return file.with_name(file.name + ".next")


def state(keys: KeySession, by: Deadline) -> TokenState:
    found = keys.state(LABEL, by=by)
    assert found is not None
    return found


def test_both_kept_pins_are_changed_and_open_the_token(
    open_keys: KeySession, file: Path, by: Deadline
) -> None:
    change_kept_pins(open_keys, state(open_keys, by), file, ("user", "so"), by=by)

    kept = Pins.read(file)
    assert kept.user.reveal() != USER.reveal()
    assert kept.so.reveal() != SO.reveal()
    open_keys.login(LABEL, kept.user, by=by)
    open_keys.token.reset_user_pin(LABEL, kept.so, USER, by=by)
    assert [one.name for one in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("reached", [True, False], ids=["after the token", "before the token"])
def test_change_that_was_cut_short_is_gone_on_with(
    open_keys: KeySession, file: Path, reached: bool, by: Deadline
) -> None:
    """The station died between its two files; the token has the new PIN, or the old one."""
    Pins(so=SO, user=OTHER).save(waiting(file))
    if reached:
        open_keys.change_pin(LABEL, "user", USER, OTHER, by=by)

    change_kept_pins(open_keys, state(open_keys, by), file, ("user",), by=by)

    open_keys.login(LABEL, OTHER, by=by)
    assert Pins.read(file).user.reveal() == OTHER.reveal()


def test_other_change_that_was_cut_short_is_finished_before_the_one_asked_for(
    open_keys: KeySession, file: Path, by: Deadline
) -> None:
    Pins(so=SO, user=OTHER).save(waiting(file))

    finished = change_kept_pins(open_keys, state(open_keys, by), file, ("so",), by=by)

    kept = Pins.read(file)
    assert finished == ("user",)
    assert kept.user.reveal() == OTHER.reveal()
    assert kept.so.reveal() != SO.reveal()
    open_keys.login(LABEL, OTHER, by=by)
    open_keys.token.reset_user_pin(LABEL, kept.so, USER, by=by)
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_refused_change_loses_no_pin_and_costs_the_next_one_no_try(
    open_keys: KeySession, file: Path, by: Deadline
) -> None:
    Pins(so=SO, user=Secret(b"not-the-tokens")).save(file)

    with pytest.raises(TokenRefused, match="CKR_PIN_INCORRECT"):
        change_kept_pins(open_keys, state(open_keys, by), file, ("user",), by=by)

    assert Pins.read(file).user.reveal() == b"not-the-tokens"
    assert not is_pending(file)
    open_keys.login(LABEL, USER, by=by)


def test_new_pin_that_the_token_denies_later_is_kept_for_a_person(
    open_keys: KeySession, file: Path, by: Deadline
) -> None:
    """Somebody else changed it: the token has neither the old nor the new one."""
    Pins(so=SO, user=OTHER).save(waiting(file))
    open_keys.change_pin(LABEL, "user", USER, Secret(b"somebody-elses"), by=by)

    with pytest.raises(TokenRefused, match="CKR_PIN_INCORRECT") as refused:
        change_kept_pins(open_keys, state(open_keys, by), file, ("user",), by=by)

    aside = file.with_name(file.name + ".refused-1")
    assert str(aside) in refused.value.diagnostics()
    assert Pins.read(aside).user.reveal() == OTHER.reveal()
    assert kept_pins(file).user.reveal() == USER.reveal()


def test_pending_user_pin_is_what_the_so_unblocks_with(
    open_keys: KeySession, file: Path, by: Deadline
) -> None:
    Pins(so=SO, user=OTHER).save(waiting(file))

    unblock_kept_pin(open_keys, state(open_keys, by), file, by=by)

    assert kept_pins(file).user.reveal() == OTHER.reveal()
    open_keys.login(LABEL, OTHER, by=by)


def test_nothing_is_unblocked_while_nobody_knows_the_so_pin(
    open_keys: KeySession, file: Path, by: Deadline
) -> None:
    Pins(so=OTHER, user=OTHER).save(waiting(file))

    with pytest.raises(Misuse, match="none was tried"):
        unblock_kept_pin(open_keys, state(open_keys, by), file, by=by)

    open_keys.login(LABEL, USER, by=by)


def test_lost_link_loses_no_pin(open_keys: KeySession, file: Path, by: Deadline) -> None:
    before = state(open_keys, by)
    open_keys.close()
    gone = KeySession(open_keys.target, type(open_keys.module)("/nowhere.so"))

    with pytest.raises((LinkLost, TokenRefused)):
        change_kept_pins(gone, before, file, ("user",), by=by)

    gone.close()
    assert is_pending(file)
    assert Pins.read(file).user.reveal() == USER.reveal()
