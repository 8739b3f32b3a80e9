"""The environment that U-Boot finds in its flash."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import uboot_env
from harness.errors import Misuse

_NAMES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="="))
_VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=200)


def _read_back(environment: bytes) -> dict[str, str]:
    """As U-Boot's env_import does it."""
    assert int.from_bytes(environment[:4], "little") == zlib.crc32(environment[4:])
    text = environment[4:].split(b"\0\0")[0].decode("ascii")
    return dict(line.split("=", 1) for line in text.split("\0") if line)


@given(st.dictionaries(_NAMES.filter(lambda n: 0 < len(n) <= 64), _VALUES, max_size=20))
def test_every_variable_is_read_back_as_u_boot_reads_it(variables: dict[str, str]) -> None:
    environment = uboot_env.environment(variables)

    assert len(environment) == uboot_env.SIZE
    assert _read_back(environment) == variables


@pytest.mark.parametrize(
    "variables",
    [{"": "x"}, {"a=b": "x"}, {"a b": "x"}, {"a": ""}, {"a": "x\0y=z"}, {"a": "\n"}, {"a": "ü"}],
    ids=["no name", "equals sign", "space", "no value", "zero byte", "line end", "not ASCII"],
)
def test_what_cannot_be_expressed_is_refused(variables: dict[str, str]) -> None:
    with pytest.raises(Misuse):
        uboot_env.environment(variables)


def test_variables_that_do_not_fit_are_refused_with_the_sizes() -> None:
    with pytest.raises(Misuse, match=r"takes 262149 bytes, 262140 fit"):
        uboot_env.environment({"a": "x" * (uboot_env.SIZE + 1)})


def test_the_flash_has_the_size_that_qemu_asks_for_and_is_private(tmp_path: Path) -> None:
    flash = tmp_path / "env.img"

    uboot_env.write_flash(flash, {"bootdelay": "0"})

    assert flash.stat().st_size == 64 * 1024 * 1024
    assert flash.stat().st_mode & 0o777 == 0o600
    with flash.open("rb") as file:
        assert _read_back(file.read(uboot_env.SIZE)) == {"bootdelay": "0"}
