"""pkcs11: URIs of the CA's tokens (RFC 7512): read strictly, without a PIN, and back again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BadInput
from provisioning.token_state import TokenFlags, TokenState
from provisioning.token_uri import TokenUri

MODULE = "module-path=/usr/lib/libhsm.so"
TEXT = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), min_size=1).filter(
    str.isprintable
)


def parsed(text: str) -> TokenUri:
    return TokenUri.parse(text, where="--root-token")


def token(label: str, serial: str = "1") -> TokenState:
    flags = TokenFlags.TOKEN_INITIALIZED
    return TokenState(0, label, serial, "Maker", "Model", "slot", flags, None)


def test_all_that_can_be_said_is_read() -> None:
    uri = parsed(
        "pkcs11:token=Line%20CA;serial=0042;manufacturer=Maker;model=X;id=%01%ff"
        f"?{MODULE}&pin-source=file:/etc/hsm%20pin"
    )

    assert uri == TokenUri(
        module=Path("/usr/lib/libhsm.so"),
        token="Line CA",
        serial="0042",
        manufacturer="Maker",
        model="X",
        id=b"\x01\xff",
        pin_source=Path("/etc/hsm pin"),
    )


@given(label=TEXT, serial=st.none() | TEXT, id=st.none() | st.binary(min_size=1, max_size=20))
def test_uri_that_was_written_reads_back(label: str, serial: str | None, id: bytes | None) -> None:
    made = TokenUri(Path("/lib/a;b&c?.so"), label, serial, id=id, pin_source=Path("/etc/a&b;c"))

    assert parsed(str(made)) == made


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("file:/etc/key.pem", "the token"),
        (f"pkcs11:?{MODULE}", "token"),
        (f"pkcs11:token=?{MODULE}", "token"),
        ("pkcs11:token=a", "module-path"),
        ("pkcs11:token=a?module-path=libhsm.so", "module-path"),
        (f"pkcs11:token=a?{MODULE}&pin-source=|cat", "pin-source"),
        (f"pkcs11:token=a;token=b?{MODULE}", "token"),
        (f"pkcs11:token=a;slot-id=1?{MODULE}", "slot-id"),
        (f"pkcs11:token=a;object?{MODULE}", "object"),
        (f"pkcs11:token=a b?{MODULE}", "token"),
        (f"pkcs11:token=a%0ab?{MODULE}", "token"),
        (f"pkcs11:token=%ff?{MODULE}", "token"),
        (f"pkcs11:token=a;id=?{MODULE}", "id"),
    ],
)
def test_what_is_wrong_is_named(text: str, key: str) -> None:
    with pytest.raises(BadInput) as complaint:
        parsed(text)

    assert (complaint.value.where, complaint.value.key) == ("--root-token", key)


def test_pin_in_a_uri_is_refused_and_not_repeated() -> None:
    with pytest.raises(BadInput, match="pin-value") as complaint:
        parsed(f"pkcs11:token=a?{MODULE}&pin-value=31415926")

    assert "31415926" not in f"{complaint.value!r}{complaint.value.__dict__}"


def test_uri_means_the_token_that_all_of_it_fits() -> None:
    uri = parsed(f"pkcs11:token=a;serial=42?{MODULE}")

    assert uri.means(token("a", "42"))
    assert not uri.means(token("a", "43"))
    assert not uri.means(token("b", "42"))
