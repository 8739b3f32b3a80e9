"""The helper's frames and TEE parameters: bytes in, types out, and nothing else let through."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.agent_client import refused
from harness.agent_frames import HEADER, MAGIC, MOST_PAYLOAD, Frame, FrameReader, FrameType, Refusal
from harness.errors import BadFrame, DeviceRefused, Misuse, TeeRefused, TrustBoxError
from harness.tee_codes import TeeCode, name_of
from harness.tee_params import (
    MOST_SHARED,
    Direction,
    Memref,
    Param,
    TeeResult,
    Value,
    decode,
    encode,
)

IN, OUT, INOUT = Direction.IN, Direction.OUT, Direction.INOUT

frames = st.builds(
    Frame,
    st.sampled_from(FrameType),
    st.integers(min_value=0, max_value=2**32 - 1),
    st.binary(max_size=100),
)


@given(st.lists(frames, max_size=5), st.integers(min_value=1, max_value=50))
def test_frames_come_out_as_they_went_in_however_they_are_cut(sent: list[Frame], size: int) -> None:
    data = b"".join(frame.encode() for frame in sent)
    reader = FrameReader()
    came: list[Frame] = []
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
        while (frame := reader.next()) is not None:
            came.append(frame)

    assert came == sent


@given(st.binary(min_size=16, max_size=64))
def test_noise_is_a_bad_frame_or_waits_for_more(noise: bytes) -> None:
    reader = FrameReader()
    reader.feed(noise)
    try:
        frame = reader.next()
    except BadFrame:
        return

    assert frame is None or noise.startswith(frame.encode())


@pytest.mark.parametrize(
    "header",
    [
        HEADER.pack(MAGIC + 1, 0x80, 0, 0),
        HEADER.pack(MAGIC, 0x80, 0, MOST_PAYLOAD + 1),
        HEADER.pack(MAGIC, 0x7F, 0, 0),
    ],
    ids=["magic", "length", "type"],
)
def test_a_header_that_is_wrong_is_refused_before_its_payload_comes(header: bytes) -> None:
    reader = FrameReader()
    reader.feed(header)

    with pytest.raises(BadFrame):
        reader.next()


def test_what_precedes_the_helper_is_quoted() -> None:
    reader = FrameReader()
    reader.feed(b"Welcome to your TrustBox!\n")

    with pytest.raises(BadFrame, match="Welcome to your TrustBox"):
        reader.next()


def test_a_payload_that_is_too_short_for_its_numbers_is_a_bad_frame() -> None:
    with pytest.raises(BadFrame, match="ENDED frame is too short"):
        Frame(FrameType.ENDED, 1, b"1234").numbers(2)


@pytest.mark.parametrize(
    ("why", "kind"),
    [
        (Refusal.SYSTEM, DeviceRefused),
        (Refusal.SESSION, Misuse),
        (Refusal.SIZE, Misuse),
        (Refusal.TYPE, BadFrame),
        (99, BadFrame),
    ],
)
def test_a_refusal_is_addressed_to_who_must_act(why: int, kind: type[TrustBoxError]) -> None:
    error = refused(Frame(FrameType.REFUSED, 1, struct.pack("<II", why, 13) + b"because"))

    assert type(error) is kind
    assert "because" in error.message


values = st.builds(
    Value,
    st.integers(min_value=0, max_value=2**32 - 1),
    st.integers(min_value=0, max_value=2**32 - 1),
    st.sampled_from(Direction),
)
memrefs = st.builds(
    Memref,
    st.binary(max_size=80) | st.integers(min_value=0, max_value=80),
    st.sampled_from(Direction),
)
params = st.lists(st.none() | values | memrefs, max_size=4).map(tuple)


def answered(sent: tuple[Param | None, ...]) -> bytes:
    """What the helper sends back when the TEE changed nothing."""
    out = b""
    for param in (*sent, *[None] * (4 - len(sent))):
        if param is None:
            out += bytes(4)
        elif isinstance(param, Value):
            out += struct.pack("<I", param.direction.value)
            out += struct.pack("<II", param.a, param.b) if param.direction is not IN else b""
        else:
            data = bytes(param.data) if isinstance(param.data, int) else param.data
            out += struct.pack("<I", param.direction.value + 4)
            if param.direction is not IN:
                out += struct.pack("<II", len(data), len(data)) + data
    return out


@given(params)
def test_parameters_come_back_by_their_direction(sent: tuple[Param | None, ...]) -> None:
    came = decode(answered(sent), sent)

    assert len(came) == 4
    for given_, found in zip(sent, came, strict=False):
        if isinstance(given_, Memref) and given_.direction is not IN:
            data = given_.data
            assert found == Memref(bytes(data) if isinstance(data, int) else data, given_.direction)
        else:
            assert found == given_


@given(params, st.integers(min_value=0, max_value=200))
def test_an_answer_that_is_cut_is_a_bad_frame(sent: tuple[Param | None, ...], size: int) -> None:
    whole = answered(sent)
    cut = whole[:size] if size < len(whole) else whole + b"\0"

    with pytest.raises(BadFrame):
        decode(cut, sent)


def test_a_buffer_that_was_too_short_comes_back_as_the_size_it_needs() -> None:
    payload = struct.pack("<III", 6, 448, 0) + bytes(12)

    assert decode(payload, (Memref(100, OUT),))[0] == Memref(448, OUT)


def test_an_answer_of_another_type_is_a_bad_frame() -> None:
    with pytest.raises(BadFrame, match="of type 7, not 6"):
        decode(answered((Memref(4, INOUT),)), (Memref(4, OUT),))


def test_the_wire_form_is_the_kernels() -> None:
    assert encode((Value(1, 2, INOUT), None, Memref(b"abc", IN), Memref(9, OUT))) == (
        struct.pack("<III", 3, 1, 2)
        + struct.pack("<I", 0)
        + struct.pack("<II", 5, 3)
        + b"abc"
        + struct.pack("<II", 6, 9)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        (None,) * 5,
        (Value(1 << 32, 0),),
        (Value(0, -1),),
        (Memref(-1, OUT),),
        (Memref(MOST_SHARED + 1, OUT),),
        (Memref(MOST_SHARED // 2, OUT), Memref(MOST_SHARED // 2 + 1, OUT)),
    ],
    ids=["five", "large a", "negative b", "negative size", "too large", "too large together"],
)
def test_parameters_that_do_not_fit_are_misuse(wrong: tuple[Param | None, ...]) -> None:
    with pytest.raises(Misuse):
        encode(wrong)


def test_success_passes_and_anything_else_is_raised_with_its_name() -> None:
    good = TeeResult(0, 4, ())
    bad = TeeResult(0xFFFF000F, 3, ())

    assert good.check("x") is good
    with pytest.raises(TeeRefused, match=r"0xffff000f \(TEE_ERROR_SECURITY\), origin TEE"):
        bad.check("opening")


def test_every_code_has_its_name_and_others_have_none() -> None:
    assert name_of(0) == "TEE_SUCCESS"
    assert name_of(TeeCode.TARGET_DEAD) == "TEE_ERROR_TARGET_DEAD"
    assert name_of(0x12345678) == ""
