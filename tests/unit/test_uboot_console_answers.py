"""U-Boot's answers: read exactly, or not at all."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from harness.uboot_answers import parse_environment, parse_words, swapped

# What U-Boot 2025.01 on an emulated box printed.
ENVIRONMENT = (
    "bootcmd=qfw load 42400000 48000000; booti 42400000 48000000:$filesize $fdtcontroladdr\n"
    "bootdelay=3\n"
    "fdtcontroladdr=7e674a50\n"
    "multi=a\\\\b\n"
    "serial#=TB-EMU-0141\n"
    "\nEnvironment size: {size}/262140 bytes\n"
)
BODY = ENVIRONMENT.partition("\n\nEnv")[0] + "\n"
WORDS = (
    "40000000: edfe0dd0 8b230000 38000000 78210000  ......#....8..!x\n"
    "40000010: 28000000                             ...(\n"
)


def _printed(variables: dict[str, str]) -> str:
    def escaped(value: str) -> str:
        return value.replace("\\", "\\\\").replace("\n", "\\\n")

    body = "".join(f"{name}={escaped(value)}\n" for name, value in variables.items())
    return f"{body}\nEnvironment size: {len(body) + 1}/8188 bytes\n"


def test_the_environment_is_read_as_it_is() -> None:
    found = parse_environment(ENVIRONMENT.format(size=len(BODY) + 1))

    assert found["bootdelay"] == "3"
    assert found["multi"] == "a\\b"
    assert found["bootcmd"].endswith("$fdtcontroladdr")
    assert len(found) == 5


names = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="="), min_size=1
)
values = st.text(st.characters(codec="ascii", exclude_characters="\0\r"), max_size=60)


@given(st.dictionaries(names, values, min_size=1, max_size=8))
@example({"a\\\\b": "c\\d\n=", "\\": "\\"})
def test_any_environment_comes_back_whole(variables: dict[str, str]) -> None:
    assert parse_environment(_printed(variables)) == variables


@given(st.data())
def test_an_environment_that_lost_a_byte_is_refused(data: st.DataObject) -> None:
    whole = ENVIRONMENT.format(size=len(BODY) + 1)
    at = data.draw(st.integers(0, len(BODY) - 1))

    with pytest.raises(ValueError, match=r"."):
        parse_environment(whole[:at] + whole[at + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a=b\n",
        "\n\nEnvironment size: 1/8188 bytes\n",
        _printed({"a": "b"}) + "x",
        "a=b\na=c\n\nEnvironment size: 9/8188 bytes\n",
        "nothing\n\nEnvironment size: 9/8188 bytes\n",
        "=b\n\nEnvironment size: 4/8188 bytes\n",
    ],
)
def test_what_is_no_environment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_environment(text)


def test_words_of_memory_are_read_in_the_processor_s_order() -> None:
    words = parse_words(WORDS, 0x40000000, 5)

    assert words == (0xEDFE0DD0, 0x8B230000, 0x38000000, 0x78210000, 0x28000000)
    assert swapped(words[0]) == 0xD00DFEED


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (WORDS.replace("8b2300", "8b2400"), "disagree"),
        (WORDS.replace("40000010", "40000020"), "missing"),
        (WORDS.splitlines(keepends=True)[0], "4 words came, 5"),
        (WORDS[:-1], "no end"),
        (WORDS.replace("78210000", "7821000"), "not a line"),
        ("Unknown command 'md' - try 'help'\n", "not a line"),
    ],
)
def test_memory_that_does_not_fit_exactly_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_words(text, 0x40000000, 5)


def test_64_bit_addresses_are_read() -> None:
    line = "0000000840000000: 00000001                             ....\n"

    assert parse_words(line, 0x840000000, 1) == (1,)
