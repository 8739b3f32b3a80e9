"""TA files are made so that they verify, and what was changed in one afterwards is seen."""

from __future__ import annotations

from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.deadline import Deadline
from harness.errors import BadInput, IntegrityFailure, Misuse
from harness.secret import Secret
from provisioning.enclave_format import MODULUS, Algorithm, take_apart
from provisioning.enclave_image import Kind, parse, payload
from provisioning.enclave_make import (
    Chain,
    Sealing,
    child_uuid,
    opened_ta,
    resigned_ta,
    signed_subkey,
    signed_ta,
)
from provisioning.enclave_signer import signature_is_good
from provisioning.enclave_verify import FAIL, PASS, UNKNOWN, checks, signer_of
from tests.unit.ta_parts import ELF, ENCLAVE, Signs, private_key

BOX_KEY = Secret(bytes(range(32)))
SPACE = UUID("f1a4a2d8-2b0e-4f0c-9d3a-0b8f1f3c7a55")


BOX, VENDOR = Signs("box"), Signs("vendor")
BY = Deadline.after(600)


def made(sealed: bool = False, **options: object) -> bytes:
    chosen: dict[str, object] = {"uuid": ENCLAVE, "signer": BOX, "version": 7, "by": BY} | options
    return signed_ta(ELF, sealing=Sealing(BOX_KEY) if sealed else None, **chosen)  # type: ignore[arg-type]


def subkey(**options: object) -> bytes:
    """The vendor's."""
    chosen: dict[str, object] = {"uuid": SPACE, "signer": BOX, "name_size": 16, "by": BY} | options
    return signed_subkey(VENDOR.public_key, **chosen)  # type: ignore[arg-type]


def failed(data: bytes, **options: object) -> set[str]:
    """The checks that fail, with the box's key."""
    found = checks(data, BOX.public_key, encryption_key=BOX_KEY, **options)  # type: ignore[arg-type]
    return {one.check for one in found if one.outcome == FAIL}


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("sealed", [False, True], ids=["clear", "encrypted"])
def test_what_was_signed_verifies(algorithm: Algorithm, sealed: bool) -> None:
    data = made(sealed, algorithm=algorithm)

    assert failed(data, uuid=ENCLAVE) == set()
    assert parse(data).version == 7
    assert opened_ta(data, key=BOX_KEY, where="it")[1] == ELF


def test_an_encrypted_one_shows_nothing_of_its_contents_and_is_new_each_time() -> None:
    one, other = made(sealed=True), made(sealed=True)

    assert parse(one).kind is Kind.ENCRYPTED
    assert ELF[:64] not in one
    assert one[-64:] != other[-64:]


def test_another_s_signature_is_seen() -> None:
    assert failed(made(signer=VENDOR)) == {"signature"}


def test_another_encryption_key_is_seen() -> None:
    other = signed_ta(ELF, uuid=ENCLAVE, signer=BOX, sealing=Sealing(Secret(bytes(32))), by=BY)

    assert failed(other) == {"contents"}


def test_without_the_key_encrypted_contents_are_unknown_not_passed() -> None:
    found = {c.check: c.outcome for c in checks(made(sealed=True), BOX.public_key)}

    assert (found["contents"], found["signature"]) == (UNKNOWN, PASS)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.booleans())
def test_no_flipped_bit_goes_unseen(data: st.DataObject, sealed: bool) -> None:
    good = made(sealed)
    bit = data.draw(st.integers(0, len(good) * 8 - 1))
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << bit % 8
    try:
        seen = failed(bytes(bad), uuid=ENCLAVE)
    except BadInput:
        return

    assert seen


@pytest.mark.parametrize("sealed", [False, True], ids=["clear", "encrypted"])
@pytest.mark.parametrize("change", [{}, {"version": 9}, {"algorithm": Algorithm.PKCS1}])
def test_one_signed_again_is_the_other_key_s_and_has_the_same_contents(
    sealed: bool, change: dict[str, object]
) -> None:
    again = resigned_ta(made(sealed), signer=VENDOR, key=BOX_KEY, by=BY, **change)  # type: ignore[arg-type]

    assert opened_ta(again, key=BOX_KEY, where="it")[1] == ELF
    assert parse(again).version == change.get("version", 7)
    assert failed(again) == {"signature"}
    found = checks(again, VENDOR.public_key, encryption_key=BOX_KEY)
    assert {one.outcome for one in found} == {PASS}


def test_an_encrypted_one_is_signed_again_without_its_key_when_nothing_else_changes() -> None:
    again = resigned_ta(made(sealed=True), signer=VENDOR, by=BY)

    assert failed(again) == {"signature"}
    with pytest.raises(Misuse, match="is encrypted"):
        resigned_ta(made(sealed=True), signer=VENDOR, version=8, by=BY)


def test_a_damaged_one_gets_no_new_signature() -> None:
    good = made()
    with pytest.raises(IntegrityFailure):
        resigned_ta(good[:-1] + b"\xaa", signer=VENDOR, by=BY)


def test_a_chain_of_subkeys_leads_from_the_box_s_key_to_the_enclave() -> None:
    name = "app"
    data = made(uuid=child_uuid(SPACE, name), signer=VENDOR, chain=Chain(subkey(), name))

    assert failed(data) == set()
    assert payload(data) == ELF
    assert signer_of(take_apart(data, size=len(data)), {"box": BOX.public_key}) == "box"
    assert signer_of(take_apart(data, size=len(data)), {"x": VENDOR.public_key}) is None


def test_a_subkey_signs_nothing_outside_of_its_name_space() -> None:
    with pytest.raises(Misuse, match=r"is [0-9a-f-]+, not"):
        made(signer=VENDOR, chain=Chain(subkey(), "app"))


def test_a_name_that_was_changed_in_a_chain_is_seen() -> None:
    data = made(uuid=child_uuid(SPACE, "app"), signer=VENDOR, chain=Chain(subkey(), "app"))
    at = data.index(b"app\0")

    assert failed(data[:at] + b"apq" + data[at + 3 :]) == {"name"}


def test_a_subkey_below_one_without_depth_is_seen() -> None:
    above = subkey(max_depth=0)
    inner = below(subkey(max_depth=1))
    inner = above + inner[len(above) :]

    assert any(
        "depth 0 below 0" in c.why and c.outcome == FAIL for c in checks(inner, BOX.public_key)
    )


def below(parent: bytes, **options: object) -> bytes:
    """A subkey below the only one of ``parent``."""
    space, chain = child_uuid(SPACE, "sub"), Chain(parent, "sub")
    return subkey(uuid=space, signer=VENDOR, chain=chain, **options)


@pytest.mark.parametrize("depths", [(0, 0), (0, 5), (1, 1)])
def test_a_subkey_that_its_parent_may_not_hand_on_is_not_made(depths: tuple[int, int]) -> None:
    with pytest.raises(Misuse, match=f"depth {depths[1]} is not below {depths[0]}"):
        below(subkey(max_depth=depths[0]), max_depth=depths[1])

    assert failed(below(subkey(max_depth=depths[1] + 1), max_depth=depths[1])) == set()


def test_a_name_space_that_no_box_takes_is_not_made() -> None:
    with pytest.raises(BadInput) as caught:
        subkey(name_size=2000)

    assert caught.value.key == "name size"
    assert failed(subkey(name_size=1024)) == set()


def test_a_subkey_too_many_is_not_made() -> None:
    chain = subkey(max_depth=20)
    for depth in range(19, 12, -1):
        above = take_apart(chain, size=len(chain)).subkeys[-1]
        last = Chain(chain, "sub")
        space = child_uuid(above.uuid, "sub")
        chain = subkey(uuid=space, signer=VENDOR, chain=last, max_depth=depth)
    assert failed(chain) == set()

    space = child_uuid(take_apart(chain, size=len(chain)).subkeys[-1].uuid, "sub")
    with pytest.raises(BadInput, match="number of subkeys"):
        subkey(uuid=space, signer=VENDOR, chain=Chain(chain, "sub"))


@pytest.mark.parametrize("bits", [512, 1024])
def test_a_subkey_s_short_key_is_named_and_crashes_nothing(bits: int) -> None:
    """It is too short for a signature of SHA-256, so that nothing could be checked with it."""
    data = subkey(name_size=0) + made(uuid=SPACE, signer=VENDOR)
    at = data.index(MODULUS.to_bytes(4, "little"))
    short = data[: at + 8] + (bits // 8).to_bytes(4, "little") + data[at + 12 :]

    with pytest.raises(BadInput) as caught:
        checks(short, BOX.public_key)
    assert caught.value.key == "subkey modulus"
    with pytest.raises(BadInput):
        signed_subkey(
            private_key("short", 1024).public_key(), uuid=SPACE, signer=BOX, name_size=0, by=BY
        )


def test_a_signature_by_a_key_that_is_too_short_for_one_is_not_good() -> None:
    tiny = rsa.RSAPublicNumbers(65537, (1 << 511) + 0x1B1).public_key()
    for algorithm in Algorithm:
        assert not signature_is_good(tiny, bytes(64), bytes(32), algorithm)


@pytest.mark.parametrize("version", [1 << 32, -1], ids=["too large", "negative"])
def test_a_version_that_does_not_fit_is_refused(version: int) -> None:
    with pytest.raises(BadInput) as caught:
        made(version=version)

    assert caught.value.key == "version"


def test_what_is_no_elf_file_is_not_signed() -> None:
    with pytest.raises(BadInput, match="an ELF file"):
        signed_ta(b"#!/bin/sh\n", uuid=ENCLAVE, signer=BOX, by=BY)


@pytest.mark.fault(
    "Files",
    "a TA is signed with RSA-PSS of another salt length than OP-TEE takes",
    comes="status 7; the check of the signature says that the salt length is another than 32",
    then="sign it with a salt of 32 octets (openssl: rsa_pss_saltlen:32)",
)
@pytest.mark.parametrize("salt", [0, 20, PSS.MAX_LENGTH], ids=["0", "20", "longest"])
def test_a_signature_of_another_salt_length_fails_and_says_so(salt: int) -> None:
    data = made()
    digest, key = data[20:52], private_key(BOX.name, BOX.bits)
    lax = key.sign(digest, PSS(MGF1(SHA256()), salt), Prehashed(SHA256()))
    data = data[:52] + lax + data[52 + len(lax) :]

    found = {one.check: one for one in checks(data, BOX.public_key, uuid=ENCLAVE)}
    other = {one.check: one for one in checks(data, VENDOR.public_key, uuid=ENCLAVE)}

    assert found["signature"].outcome == other["signature"].outcome == FAIL
    assert "another salt length than 32" in found["signature"].why
    assert "salt" not in other["signature"].why
