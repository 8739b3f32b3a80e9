"""This station's own count of wrong PINs stops before a token locks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from harness.deadline import Deadline
from harness.errors import BadInput, DeadlineExpired, TokenRefused
from provisioning.pin_budget import MOST, PinBudget
from provisioning.token_state import TokenFlags, TokenState

TEE = UUID("cce197f2-0846-5c81-afad-cd3a123dfb08")
TOKEN = TokenState(0, "t", "0000000000000000", "Linaro", "OP-TEE TA", "", TokenFlags(0), TEE)


@pytest.fixture
def budget(tmp_path: Path) -> PinBudget:
    return PinBudget(tmp_path / "budget")


def fail(budget: PinBudget, ckr: str = "CKR_PIN_INCORRECT") -> None:
    with pytest.raises(TokenRefused), budget.trying(TOKEN, "user"):
        raise TokenRefused("logging in", ckr)


def test_right_pin_gives_all_tries_back(budget: PinBudget) -> None:
    fail(budget)
    with budget.trying(TOKEN, "user"):
        pass

    assert budget.failures(TOKEN, "user") == 0


def test_wrong_pins_are_counted_for_the_token_and_role_alone(budget: PinBudget) -> None:
    fail(budget)
    fail(budget)

    another = replace(TOKEN, tee_uuid=UUID(int=1))
    assert budget.failures(TOKEN, "user") == 2
    assert budget.failures(TOKEN, "so") == 0
    assert budget.failures(another, "user") == 0  # OP-TEE's serial numbers are only slots


def test_nothing_is_tried_after_too_many_whatever_the_token_says(budget: PinBudget) -> None:
    for _ in range(MOST):
        fail(budget)
    entered = False

    with (
        pytest.raises(TokenRefused, match="CKR_PIN_LOCKED") as refused,
        budget.trying(TOKEN, "user"),
    ):
        entered = True

    assert not entered
    assert "Not tried" in refused.value.diagnostics()


def test_person_can_say_that_the_pin_is_right_now(budget: PinBudget) -> None:
    for _ in range(MOST):
        fail(budget)

    budget.forget(TOKEN, "user")

    with budget.trying(TOKEN, "user"):
        pass


def test_try_whose_outcome_nobody_saw_stays_counted(budget: PinBudget) -> None:
    """A crash between the call and its answer: the token may have counted it."""
    with pytest.raises(KeyboardInterrupt), budget.trying(TOKEN, "so"):
        raise KeyboardInterrupt

    assert budget.failures(TOKEN, "so") == 1


def test_refusal_that_is_not_about_the_pin_costs_nothing(budget: PinBudget) -> None:
    fail(budget, "CKR_DEVICE_ERROR")

    assert budget.failures(TOKEN, "user") == 0


def test_count_that_cannot_be_read_stops_and_is_named(budget: PinBudget) -> None:
    fail(budget)
    [file] = budget.directory.glob("*.json")
    file.write_text("{}")

    with pytest.raises(BadInput, match=r"failures.*a count of wrong PINs"):
        budget.failures(TOKEN, "user")


def test_what_was_not_tried_is_named_as_what_it_was_for(budget: PinBudget) -> None:
    for _ in range(MOST):
        fail(budget)

    with (
        pytest.raises(TokenRefused, match=r"^logging in to token t: the token answered"),
        budget.trying(TOKEN, "user", doing="logging in to token t"),
    ):
        pytest.fail("tried")


def test_who_waits_for_another_try_gives_up_at_the_deadline(budget: PinBudget) -> None:
    with (
        budget.trying(TOKEN, "user"),
        pytest.raises(DeadlineExpired, match="another process that gives token t its user PIN"),
        budget.trying(TOKEN, "user", by=Deadline.after(0.1)),
    ):
        pytest.fail("two at once")
