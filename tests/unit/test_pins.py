"""PINs: random, durable, private; and never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BadInput, Misuse
from provisioning.pins import Pins


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_made_pins_are_read_back(tmp_path: Path) -> None:
    made = Pins.make(tmp_path / "new" / "pins.toml")

    assert Pins.read(tmp_path / "new" / "pins.toml") == made


def test_made_pins_are_nobody_elses_to_read(tmp_path: Path) -> None:
    Pins.make(tmp_path / "pins.toml")

    assert (tmp_path / "pins.toml").stat().st_mode & 0o777 == 0o600


def test_no_two_tokens_have_the_same_pins(tmp_path: Path) -> None:
    first, second = (Pins.make(tmp_path / name) for name in ("a", "b"))

    assert first.so != second.so
    assert first.user != second.user
    assert first.so != first.user


def test_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "pins.toml", 'so_pin = "12345678"\nuser_pin = "87654321"', 0o640)

    with pytest.raises(BadInput, match="0640"):
        Pins.read(file)


@pytest.mark.parametrize(
    "text",
    [
        'so_pin = "70551234"',
        'so_pin = "70551234"\nuser_pin = "705"',
        'so_pin = "70551234"\nuser_pin = 70551234',
        'so_pin = "70551234"\nuser_pin = "%s"' % ("7055" * 33),
        'so_pin = "70551234"\nuser_pin = "70551234"\npuk = "70551234"',
        'so_pin = "70551234\nuser_pin = "70551234"',
    ],
    ids=["missing", "short", "number", "long", "unknown", "no-toml"],
)
def test_complaint_about_a_pin_file_never_quotes_a_pin(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadInput) as complaint:
        Pins.read(written(tmp_path / "pins.toml", text))

    shown = f"{complaint.value} {complaint.value.diagnostics()} {complaint.value.__context__}"
    assert "705" not in shown


def test_pins_show_as_nothing(tmp_path: Path) -> None:
    made = Pins.make(tmp_path / "pins.toml")

    assert made.user.reveal().decode() not in repr(made)


def test_place_that_cannot_be_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(Misuse, match="file"):
        Pins.make(tmp_path / "file" / "pins.toml")
