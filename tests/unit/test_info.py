"""What a box says about itself is taken only in a sensible form."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioning.device_id import described
from provisioning.info import LONGEST, text

TEE_UUID = UUID("ae4713e6-72ef-5e09-bf31-4419f61c9872")


def test_a_device_tree_string_is_taken_without_its_nul() -> None:
    assert text(b"TB-EMU-0001\0") == "TB-EMU-0001"


def test_a_list_of_strings_is_joined() -> None:
    assert text(b"scalys,trustbox\0fsl,ls1012a\0") == "scalys,trustbox fsl,ls1012a"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\0", id="an empty string"),
        pytest.param(b"TB\x1b[2J", id="control characters"),
        pytest.param("TB-é".encode(), id="not ASCII"),
        pytest.param(b"x" * (LONGEST + 1), id="too long"),
    ],
)
def test_what_is_no_sensible_text_is_absent(raw: bytes) -> None:
    assert text(raw) is None


@given(st.binary(max_size=200))
def test_any_octets_give_printable_text_or_nothing(raw: bytes) -> None:
    found = text(raw)

    assert found is None or (found.isascii() and found.isprintable())


def test_the_tee_uuid_is_read_from_the_slot_description() -> None:
    description = f"OP-TEE PKCS11 TA - TEE UUID {TEE_UUID}".encode()

    assert described(description.ljust(64)) == TEE_UUID


@pytest.mark.parametrize(
    "description",
    [
        pytest.param(b"OP-TEE PKCS11 TA - No TEE UUID", id="none"),
        pytest.param(b"SoftHSM slot ID 0x0", id="another token"),
        pytest.param(f"OP-TEE PKCS11 TA - TEE UUID {TEE_UUID}0".encode(), id="one digit more"),
        pytest.param(b"", id="empty"),
    ],
)
def test_another_description_has_no_tee_uuid(description: bytes) -> None:
    assert described(description.ljust(64)) is None
