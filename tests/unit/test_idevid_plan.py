"""How long a box's certificate is good is the plan's to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BadInput
from provisioning.plan import example_plan, parse_plan


def validity(value: str) -> int | None:
    text = example_plan().replace("validity_days = 3650", f"validity_days = {value}")
    return parse_plan(text.encode(), where="my.toml", beside=Path("/")).validity_days


def test_period_is_a_number_of_days() -> None:
    assert validity("30") == 30


def test_certificate_may_be_without_end() -> None:
    assert validity('"unlimited"') is None


@pytest.mark.parametrize("value", ['"for ever"', '"30"', "36501", "-1"])
def test_period_that_is_neither_is_named(value: str) -> None:
    with pytest.raises(BadInput, match=r"certificate\.validity_days"):
        validity(value)
