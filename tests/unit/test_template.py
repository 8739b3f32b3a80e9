"""Which saved delivered states of a box are kept."""

from __future__ import annotations

import os
from pathlib import Path

from emulator.template import remove_old


def saved(of_box: Path, name: str, used: int) -> Path:
    directory = of_box / f"image-{name}" / f"template-{name}"
    directory.mkdir(parents=True)
    (directory / "ram.img").write_bytes(b"memory")
    os.utime(directory, (used, used))
    return directory


def test_the_templates_of_two_other_checkouts_stay(tmp_path: Path) -> None:
    templates = [saved(tmp_path, "a", 1), saved(tmp_path, "b", 2)]
    remove_old(tmp_path)
    assert all((one / "ram.img").exists() for one in templates)


def test_templates_beyond_those_go_the_one_not_used_for_longest_first(tmp_path: Path) -> None:
    used = {
        name: saved(tmp_path, name, seconds) for name, seconds in (("a", 3), ("b", 1), ("c", 2))
    }
    remove_old(tmp_path)
    assert {name for name, one in used.items() if one.exists()} == {"a", "c"}
    assert not list(tmp_path.glob("image-b/*"))


def test_what_an_interrupted_save_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "image-a" / ".new-template-xyz"
    left.mkdir(parents=True)
    remove_old(tmp_path)
    assert not left.exists()
