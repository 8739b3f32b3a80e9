"""Shared access signatures are what Azure computes."""

from __future__ import annotations

import base64
import subprocess
from urllib.parse import parse_qs

import pytest

from harness.errors import Misuse
from harness.secret import Secret
from provisioning.dps_sas import LIFE_SECONDS, sas_token

KEY = Secret(base64.b64encode(b"k" * 32))


def test_signature_is_the_one_that_openssl_computes() -> None:
    token = sas_token("Factory.Example", "owner", KEY, now=1_700_000_000)

    fields = parse_qs(token.removeprefix("SharedAccessSignature "))
    signed = f"factory.example\n{1_700_000_000 + LIFE_SECONDS}".encode()
    digest = subprocess.run(
        ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"key:{'k' * 32}", "-binary"],
        input=signed,
        capture_output=True,
        check=True,
    ).stdout
    assert fields == {
        "sr": ["factory.example"],
        "sig": [base64.b64encode(digest).decode()],
        "se": [str(1_700_000_300)],
        "skn": ["owner"],
    }


def test_nothing_in_a_token_can_be_taken_for_another_field() -> None:
    token = sas_token("h", "a&b=c +", KEY, now=0)

    assert token.count("&") == 3
    assert token.endswith("&skn=a%26b%3Dc%20%2B")


@pytest.mark.parametrize("key", [b"", b"not base64!", b"abc"])
def test_key_that_is_not_base64_is_misuse_that_does_not_quote_it(key: bytes) -> None:
    with pytest.raises(Misuse, match="the shared access key is not base64"):
        sas_token("h", "owner", Secret(key))
