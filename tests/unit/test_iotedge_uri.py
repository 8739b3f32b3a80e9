"""PKCS#11 URIs say what they were made of, to us and to others."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import Misuse
from harness.secret import Secret
from provisioning.iotedge_uri import Pkcs11Uri

LABELS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=32
).filter(lambda text: len(text.encode()) <= 32)
PINS = st.one_of(st.none(), st.binary(min_size=1, max_size=128).filter(lambda p: b"\0" not in p))


@given(
    token=LABELS.filter(bool),
    object=LABELS,
    id=st.binary(max_size=40),
    type=st.sampled_from(["", "private", "public", "cert"]),
    pin=PINS,
)
def test_any_uri_reads_back_as_it_was(
    token: str, object: str, id: bytes, type: str, pin: bytes | None
) -> None:
    made = Pkcs11Uri(token, object, id, type, pin=None if pin is None else Secret(pin))

    text = made.text(with_pin=True)

    assert Pkcs11Uri.parse(text) == made
    assert re.fullmatch(r"pkcs11:[A-Za-z0-9%=;-]+(\?pin-value=[A-Za-z0-9%]+)?", text)


def test_slot_and_label_are_written_as_iot_edge_writes_them() -> None:
    """aziotctl encodes ``-`` as well (its golden files, provisioning-facts 2d)."""
    uri = Pkcs11Uri(slot=0, object="device-id", pin=Secret(b"1234"))

    assert uri.text(with_pin=True) == "pkcs11:slot-id=0;object=device%2Did?pin-value=1234"


def test_pin_is_in_the_text_only_when_asked_for() -> None:
    uri = Pkcs11Uri(token="box", pin=Secret(b"12;&% 34"))

    assert uri.text() == "pkcs11:token=box"
    assert uri.text(with_pin=True) == "pkcs11:token=box?pin-value=12%3B%26%25%2034"
    assert "12;&" not in repr(uri)


@pytest.mark.fault(
    "Token",
    "a PKCS#11 URI with both token and slot-id, or no URI at all",
    comes="Misuse, status 2; the text is not quoted, as it may hold a PIN",
    then="name the token by its label or by its slot, not by both",
)
@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:", "pkcs11:token=a;token=b", "pkcs11:token=a b", "pkcs11:4321",
        "pkcs11:token=%zz", "pkcs11:token=a;slot-id=1", "pkcs11:slot-id=-1", "pkcs11:slot-id=x",
        "pkcs11:token=a?", "pkcs11:token=a?pin-source=file:/x", "pkcs11:token=%ff", "file:/x",
        "pkcs11:token=a;colour=red", "pkcs11:object=a", "pkcs11:token=a;type=x",
    ],
)  # fmt: skip
def test_text_that_is_no_uri_of_ours_is_misuse_that_does_not_quote_it(text: str) -> None:
    with pytest.raises(Misuse) as refusal:
        Pkcs11Uri.parse(text)

    assert text.removeprefix("pkcs11:") not in refusal.value.message or text == "pkcs11:"


@pytest.mark.fault(
    "Token",
    "a PKCS#11 URI with both token and slot-id, or no URI at all",
    comes="Misuse, status 2; the text is not quoted, as it may hold a PIN",
    then="name the token by its label or by its slot, not by both",
)
@pytest.mark.parametrize(
    "fields",
    [{}, {"token": "a", "slot": 1}, {"token": "x" * 33}, {"token": "a", "type": "b"},
     {"token": "a\0"}, {"slot": 2**64}],
)  # fmt: skip
def test_fields_that_no_uri_can_hold_are_misuse(fields: dict[str, object]) -> None:
    with pytest.raises(Misuse):
        Pkcs11Uri(**fields)  # type: ignore[arg-type]
