"""Which PKCS#11 TA may keep a box's keys: the plan's, or the one that was recorded."""

from __future__ import annotations

import pytest

from harness.errors import IntegrityFailure
from provisioning.steps_tee import judge_token_ta

OLD, NEW = "5a" * 32, "6b" * 32


@pytest.mark.parametrize(
    ("planned", "before"),
    [(None, None), (None, NEW), (NEW, NEW), (NEW, OLD)],
    ids=["first use", "the recorded one", "both", "an update that the plan names"],
)
def test_ta_that_is_the_plans_or_else_the_recorded_one_is_taken(
    planned: str | None, before: str | None
) -> None:
    judge_token_ta("TB-1", NEW, planned=planned, before=before)


def test_ta_that_is_not_the_recorded_one_is_refused_and_both_are_named() -> None:
    with pytest.raises(IntegrityFailure, match=f"was {OLD} .* is now {NEW}") as refused:
        judge_token_ta("TB-1", NEW, planned=None, before=OLD)

    assert f'token_ta = "{NEW}"' in refused.value.hint


def test_ta_that_the_plan_does_not_mean_is_refused_even_when_it_is_the_recorded_one() -> None:
    with pytest.raises(IntegrityFailure, match=f"{OLD}, and the plan wants {NEW}"):
        judge_token_ta("TB-1", OLD, planned=NEW, before=OLD)
