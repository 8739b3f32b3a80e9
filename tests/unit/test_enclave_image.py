"""A TA file is read strictly: what is wrong with it is said with the name of the field."""

from __future__ import annotations

import hashlib
import struct
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.deadline import Deadline
from harness.errors import BadInput
from provisioning.enclave_golden import golden_ta
from provisioning.enclave_image import HEADERS, Kind, parse, parse_headers
from provisioning.enclave_make import signed_subkey
from tests.unit.ta_parts import Signs

ENCLAVE = UUID("e4a0f3d6-7c1b-4c52-9b8e-5d2f6a7c8b90")
BODY = b"\x7fELF" + bytes(range(256)) * 40


def image(
    *,
    magic: int = 0x4F545348,
    kind: int = 1,
    img_size: int | None = None,
    algorithm: int = 0x70414930,
    hash_size: int = 32,
    sig_size: int = 256,
    version: int = 7,
    encryption: bytes = b"",
) -> bytes:
    size = len(BODY) if img_size is None else img_size
    shdr = struct.pack("<IIIIHH", magic, kind, size, algorithm, hash_size, sig_size)
    head = ENCLAVE.bytes + struct.pack("<I", version) + encryption
    digest = hashlib.sha256(shdr + head + BODY).digest()
    return shdr + digest + bytes(sig_size) + head + BODY


def test_a_signed_enclave_tells_what_it_is() -> None:
    found = parse(image())

    assert (found.kind, found.uuid, found.version) == (Kind.PLAIN, ENCLAVE, 7)
    assert found.digest == image()[20:52]
    assert found.size == len(image())


def test_an_encrypted_enclave_tells_what_it_is() -> None:
    encryption = struct.pack("<IIHH", 0x40000810, 0, 12, 16) + bytes(28)

    assert parse(image(kind=2, encryption=encryption)).kind is Kind.ENCRYPTED


def test_the_headers_alone_tell_what_it_is() -> None:
    whole = image()

    assert parse_headers(whole[:600], size=len(whole)) == parse(whole)


@pytest.mark.parametrize(
    ("data", "field"),
    [
        pytest.param(b"", "size", id="empty"),
        pytest.param(BODY, "the file", id="a raw ELF file"),
        pytest.param(image()[:10], "shdr", id="cut in the header"),
        pytest.param(image()[:100], "signature", id="cut in the signature"),
        pytest.param(image()[:-1], "image size", id="one byte short"),
        pytest.param(image() + b"\0", "image size", id="one byte more"),
        pytest.param(image(magic=0x4F545349), "magic", id="magic"),
        pytest.param(image(kind=0), "type", id="type 0 carries no UUID"),
        pytest.param(image(kind=4), "type", id="type 4"),
        pytest.param(image(algorithm=0), "algorithm", id="algorithm"),
        pytest.param(image(hash_size=20), "hash size", id="hash size"),
        pytest.param(image(sig_size=128), "signature size", id="1024-bit signature"),
        pytest.param(image(img_size=1 << 31), "image size", id="image size"),
        pytest.param(image()[:-1] + b"\0", "hash", id="last byte changed"),
        pytest.param(image(kind=2, encryption=bytes(40)), "encryption algorithm", id="encryption"),
    ],
)
def test_a_wrong_file_is_refused_with_the_field_that_is_wrong(data: bytes, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(data, where="some.ta")

    assert (caught.value.where, caught.value.key) == ("some.ta", field)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(image()) * 8 - 1))
def test_no_flipped_bit_outside_the_signature_goes_unseen(bit: int) -> None:
    data = bytearray(image())
    data[bit // 8] ^= 1 << bit % 8
    in_signature = 52 <= bit // 8 < 52 + 256

    assert readable(bytes(data)) is in_signature


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 1 << 33))
def test_garbage_is_refused_and_never_crashes(data: bytes, size: int) -> None:
    with pytest.raises(BadInput):
        parse_headers(image()[:4] + data, size=size)


def test_headers_that_never_end_are_refused() -> None:
    signer, by = Signs("box"), Deadline.after(60)
    subkey = signed_subkey(signer.public_key, uuid=ENCLAVE, signer=signer, name_size=0, by=by)

    with pytest.raises(BadInput) as caught:
        parse_headers((subkey * 60)[:HEADERS], size=1 << 20)

    assert caught.value.key == "number of subkeys"


def test_there_is_no_golden_measurement_of_what_is_no_elf_file() -> None:
    with pytest.raises(BadInput) as caught:
        golden_ta(image())

    assert caught.value.key == "payload"


def readable(data: bytes) -> bool:
    try:
        parse(data)
    except BadInput:
        return False
    return True


@pytest.mark.fault(
    "Files",
    "a TA's file that is the ELF file before signing, or has octets too many or too few",
    comes="BadInput (2), which says so: not signed yet, or how many bytes more or less",
    then="trustbox ta sign FILE, or copy the file again",
)
def test_an_elf_file_and_padding_are_named_as_what_they_are() -> None:
    with pytest.raises(BadInput, match="an ELF file") as unsigned:
        parse(BODY, where="some.ta")
    with pytest.raises(BadInput, match="3704 bytes more than the header says"):
        parse(image() + bytes(3704), where="some.ta")
    with pytest.raises(BadInput, match="5 bytes less than the header says"):
        parse(image()[:-5], where="some.ta")

    assert "not signed yet: trustbox ta sign" in unsigned.value.hint
