"""pkcs11: URIs as p11tool and people write them: one parser, the same answers everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import BadInput
from provisioning.authority_tokens import key_id
from provisioning.iotedge_uri import Pkcs11Uri
from provisioning.pkcs11_uri import check_typed, is_uri
from provisioning.token_state import TokenFlags, TokenState
from provisioning.token_uri import TokenUri

P11TOOL = (
    "pkcs11:model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=a1b2;token=line"
    ";id=%01%ff;object=x;type=private"
)
MODULE = "?module-path=/usr/lib/libhsm.so"
Parse = Callable[[str], Pkcs11Uri | TokenUri]


def for_openssl(text: str) -> Pkcs11Uri:
    return Pkcs11Uri.parse(text, where="--key")


def for_a_session(text: str) -> TokenUri:
    return TokenUri.parse(text + MODULE, where="--key")


@pytest.fixture(params=[for_openssl, for_a_session], ids=["OpenSSL", "session"])
def parse(request: pytest.FixtureRequest) -> Parse:
    made: Parse = request.param
    return made


def token(**other: str) -> TokenState:
    told = {"label": "line", "serial": "a1b2", "manufacturer": "SoftHSM project"} | other
    flags = TokenFlags.TOKEN_INITIALIZED
    return TokenState(
        3, told["label"], told["serial"], told["manufacturer"],
        told.get("model", "SoftHSM v2"), "slot", flags, None,
    )  # fmt: skip


def test_what_p11tool_prints_is_taken_whole(parse: Parse) -> None:
    found = parse(P11TOOL)

    assert (found.token, found.serial, found.model) == ("line", "a1b2", "SoftHSM v2")
    assert (found.manufacturer, found.object, found.id) == ("SoftHSM project", "x", b"\1\xff")


def test_a_uri_means_the_token_that_all_of_it_fits(parse: Parse) -> None:
    found = parse(P11TOOL)

    assert found.means(token())
    for other in ("label", "serial", "manufacturer", "model"):
        assert not found.means(token(**{other: "another"})), other


def test_openssl_is_given_all_that_names_the_token() -> None:
    assert for_openssl(for_openssl(P11TOOL).text()) == for_openssl(P11TOOL)


@pytest.mark.parametrize("scheme", ["pkcs11:", "PKCS11:", "Pkcs11:"])
def test_case_of_the_scheme_does_not_count(parse: Parse, scheme: str) -> None:
    assert is_uri(scheme + "token=line")
    assert parse(scheme + "token=line") == parse("pkcs11:token=line")


@pytest.mark.fault(
    "Token",
    "a PKCS#11 URI with an attribute that is not used here, twice, or not encoded",
    comes="BadInput (2), naming the option and the attribute; no value is quoted",
    then="leave the attribute away; the error names those that are known",
)
@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("library-version=2", "library-version"),
        ("colour=8642", "colour"),
        ("token=b", "token"),
        ("object=a b", "object"),
        ("object=%ff", "object"),
        ("8642", "the URI"),
        ("id=", "id"),
    ],
)
def test_the_attribute_that_is_wrong_is_named_and_not_quoted(
    parse: Parse, more: str, named: str
) -> None:
    with pytest.raises(BadInput) as caught:
        parse(f"pkcs11:token=line;{more}")

    assert (caught.value.where, caught.value.key) == ("--key", named)
    assert "8642" not in caught.value.message


@pytest.mark.fault(
    "Token",
    "id=0102 in a PKCS#11 URI: it may mean two octets or four letters",
    comes="BadInput (2) with both ways to write it; no token is asked",
    then="write id=%01%02 for octets",
)
@pytest.mark.parametrize("text", ["pkcs11:token=line;id=0102", "PKCS11:id=0102;token=line"])
def test_an_id_of_plain_hexadecimal_digits_is_asked_about(text: str) -> None:
    with pytest.raises(BadInput, match="%01%02 for these octets, or %30%31%30%32 for these letter"):
        check_typed(text, where="--key")


@pytest.mark.parametrize("id", ["%01%02", "%30%31", "key-one", "010", "01%02", "key?id=0102"])
def test_an_id_that_has_one_meaning_is_not_asked_about(id: str) -> None:
    check_typed(f"pkcs11:token=line;id={id}", where="--key")


def test_an_id_that_was_kept_means_what_it_meant() -> None:
    kept = for_a_session("pkcs11:token=line;id=0102")

    assert kept.id == b"0102"
    assert TokenUri.parse(str(kept), where="kept") == kept
    check_typed(str(kept), where="kept")


def test_a_key_that_is_found_by_its_id_is_not_named_by_its_label_alone() -> None:
    with pytest.raises(BadInput, match="CKA_ID") as caught:
        key_id(f"pkcs11:token=line;object=x{MODULE}", b"ours", where="ca.json")

    assert (caught.value.where, caught.value.key) == ("ca.json", "object")
    assert key_id(f"pkcs11:token=line;object=x;id=%07{MODULE}", b"ours") == b"\7"
    assert for_a_session("pkcs11:token=line").module == Path("/usr/lib/libhsm.so")
