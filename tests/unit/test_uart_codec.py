"""Link frames as bytes of a line: whole again whatever stands between and inside them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.uart_codec import ETX, STX, Sieve, decode, encode
from harness.uart_frames import LinkFrame, LinkKind, parse

ascii_text = st.text(alphabet=[chr(c) for c in range(128) if c not in (2, 3)], max_size=60).map(
    str.encode
)


@given(st.binary(min_size=1, max_size=1045))
def test_a_body_comes_back_and_uses_only_high_bytes_inside(body: bytes) -> None:
    line = encode(body)

    assert (line[:1], line[-1:]) == (STX, ETX)
    assert min(line[1:-1]) >= 0x80
    assert decode(line[1:-1]) == body


@given(st.binary(max_size=40))
def test_what_no_frame_has_the_length_of_is_none(coded: bytes) -> None:
    size = len(coded) * 7 // 8

    assert (decode(coded) is None) == (size == 0 or size + (size + 6) // 7 != len(coded))


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=80), ascii_text, ascii_text), max_size=5),
    st.integers(min_value=1, max_value=70),
    st.randoms(use_true_random=False),
)
def test_text_between_and_inside_frames_does_no_harm(
    parts: list[tuple[bytes, bytes, bytes]], size: int, chance: random.Random
) -> None:
    data, said = b"", b""
    for body, before, inside in parts:
        line = encode(body)
        cut = chance.randrange(1, len(line))
        data += before + line[:cut] + inside + line[cut:]
        said += before + inside
    sieve = Sieve()
    text, bodies = b"", []
    for start in range(0, len(data), size):
        more, found = sieve.feed(data[start : start + size])
        text += more
        bodies += found

    assert bodies == [body for body, _, _ in parts]
    assert text == said


@given(st.binary(max_size=300))
def test_anything_may_come_and_a_good_frame_after_it_is_found(junk: bytes) -> None:
    sieve = Sieve()
    sieve.feed(junk)
    _, bodies = sieve.feed(encode(b"good"))

    assert bodies[-1] == b"good"


def test_umlauts_are_text_and_a_piece_of_a_frame_is_not() -> None:
    """An echoed frame shows what was sent with nothing but a bit changed: it may be a secret."""
    sieve = Sieve()
    piece = encode(b"a secret that must not be recorded")[1:-1]

    assert sieve.feed("grüße\n".encode())[0] == "grüße\n".encode()
    assert sieve.feed(b"^B" + piece + b"^C")[0] == b"^B<%d bytes of a frame>^C" % len(piece)


def test_a_frame_without_its_beginning_is_dropped_and_counted() -> None:
    sieve = Sieve()

    assert sieve.feed(encode(b"lost its head")[1:] + b"text") == (b"text", [])
    assert sieve.broken == 1


frames = st.builds(
    LinkFrame,
    st.sampled_from(LinkKind),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=100),
    st.booleans(),
    st.booleans(),
)


@given(frames)
def test_a_frame_comes_back_with_all_its_fields(frame: LinkFrame) -> None:
    body = decode(frame.line()[1:-1])

    assert body is not None
    assert parse(body) == frame


@given(frames, st.integers(min_value=0), st.sampled_from(["lost", "twice", "changed"]))
def test_a_frame_with_one_wrong_byte_is_no_frame(frame: LinkFrame, at: int, how: str) -> None:
    coded = bytearray(frame.line()[1:-1])
    at %= len(coded)
    if how == "lost":
        del coded[at]
    elif how == "twice":
        coded.insert(at, coded[at])
    else:
        coded[at] ^= 0x41
    body = decode(bytes(coded))

    # A doubled or lost byte among equal ones, or a spare bit, changes nothing.
    assert body is None or parse(body) in (None, frame)


@pytest.mark.parametrize("size", [0, 1, 20])
def test_what_is_too_short_is_no_frame(size: int) -> None:
    assert parse(bytes(size)) is None
