"""targets.toml: what ships, what a user adds, and that no typing error passes."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config import choose, load_targets, parse
from harness.config_emulator import EmulatorConfig
from harness.errors import BadInput, Misuse

GOOD = 'kind = "emulator"\nserial = "TB-EMU-0007"\n'


@pytest.fixture(autouse=True)
def no_user_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The developer's own targets must not decide these tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "trustbox" / "targets.toml"


def test_the_emulator_ships() -> None:
    found = choose("emulator")

    assert isinstance(found, EmulatorConfig)
    assert (found.serial, found.profile) == ("TB-EMU-0001", "current")


def test_the_users_file_adds_to_what_ships(no_user_file: Path) -> None:
    no_user_file.parent.mkdir(parents=True)
    no_user_file.write_text(f"[mine]\n{GOOD}")

    assert sorted(load_targets()) == ["emulator", "mine"]


def test_a_named_file_takes_the_place_of_the_users(no_user_file: Path, tmp_path: Path) -> None:
    no_user_file.parent.mkdir(parents=True)
    no_user_file.write_text(f"[mine]\n{GOOD}")
    named = tmp_path / "named.toml"
    named.write_text(f"[emulator]\n{GOOD}")

    assert sorted(load_targets(named)) == ["emulator"]
    assert choose("emulator", named).serial == "TB-EMU-0007"


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match=r"no\.toml cannot be read"):
        load_targets(tmp_path / "no.toml")


def test_an_unknown_target_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(Misuse, match="no target called 'emulater'; there are emulator") as caught:
        choose("emulater")
    assert "targets.toml" in caught.value.diagnostics()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (f'[box]\n{GOOD}colour = "red"\n', "box.colour"),
        ('[box]\nkind = "emulator"\n', "box.serial"),
        ('[box]\nkind = "emulator"\nserial = 7\n', "box.serial"),
        ('[box]\nkind = "emulator"\nserial = ""\n', "box.serial"),
        ('[box]\nserial = "TB-1"\n', "box.kind"),
        ('[box]\nkind = "emulater"\nserial = "TB-1"\n', "box.kind"),
        (f'[box]\n{GOOD}profile = "shiped"\n', "box.profile"),
        ('box = "emulator"\n', "box"),
        ("[box\n", "the file"),
    ],
    ids=[
        "unknown key",
        "no serial",
        "serial type",
        "empty serial",
        "no kind",
        "unknown kind",
        "unknown profile",
        "no table",
        "no TOML",
    ],
)
def test_what_is_wrong_is_named_with_file_table_and_key(text: str, key: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(text, "mine.toml")

    assert (caught.value.where, caught.value.key) == ("mine.toml", key)
    assert caught.value.expected
