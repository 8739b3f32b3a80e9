"""Intermediate results appear whole or not at all, and are made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulator.stages import stage, staging, sweep


def make(place: Path) -> None:
    (place / "result").write_text("made")


def never(place: Path) -> None:
    raise AssertionError("made twice")


def test_a_stage_is_made_once_for_the_same_inputs(tmp_path: Path) -> None:
    first = stage(tmp_path, "optee", {"flags": "a"}, make)
    again = stage(tmp_path, "optee", {"flags": "a"}, never)

    assert again == first
    assert (again / "result").read_text() == "made"


def test_other_inputs_make_another_stage_and_the_old_one_goes(tmp_path: Path) -> None:
    first = stage(tmp_path, "optee", {"flags": "a"}, make)
    kept = stage(tmp_path, "flash", {"flags": "a"}, make)
    other = stage(tmp_path, "optee", {"flags": "b"}, make)

    assert sorted(tmp_path.iterdir()) == sorted([kept, other])
    assert not first.exists()


def test_a_stage_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def half(place: Path) -> None:
        make(place)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage(tmp_path, "optee", {}, half)

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_build_left_is_swept_and_stages_stay(tmp_path: Path) -> None:
    kept = stage(tmp_path, "optee", {}, make)
    make(staging(tmp_path))

    sweep(tmp_path)

    assert list(tmp_path.iterdir()) == [kept]
