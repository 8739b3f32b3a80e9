"""Deadlines are points in time, and running out names what was waited for."""

from __future__ import annotations

import pytest

from harness.deadline import Deadline
from harness.errors import DeadlineExpired


def test_what_is_left_is_positive_and_never_more_than_asked() -> None:
    assert 0 < Deadline.after(5).left("x") <= 5


def test_running_out_names_what_was_waited_for() -> None:
    with pytest.raises(DeadlineExpired, match=r"gave up after 0\.0 s waiting for the moon"):
        Deadline.after(0).left("the moon")


def test_a_slice_is_no_longer_than_its_bound_nor_than_what_is_left() -> None:
    assert Deadline.after(100).slice("x", 2) == 2
    assert Deadline.after(1).slice("x", 2) <= 1
    with pytest.raises(DeadlineExpired):
        Deadline.after(-1).slice("x", 2)


def test_the_sooner_of_two_wins_and_keeps_its_own_length() -> None:
    long, short = Deadline.after(100), Deadline.after(1)

    assert long.sooner(5).seconds == 5
    assert short.sooner(5) is short


def test_it_is_expired_from_its_point_on() -> None:
    assert Deadline.after(0).expired
    assert not Deadline.after(100).expired
