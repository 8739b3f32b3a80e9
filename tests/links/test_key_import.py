"""The pair that imports are wrapped for, judged in SoftHSM2: made inside, or put there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from harness.deadline import Deadline
from harness.errors import IntegrityFailure
from harness.secret import Secret
from provisioning.key_import import WRAPPING_ID, WRAPPING_LABEL, holds, judge_wrapping_pair
from provisioning.pins import Pins
from provisioning.softhsm import softhsm_module, softhsm_token
from provisioning.token import Token
from provisioning.token_public import KeyProfile

LABEL = "under-test"


@pytest.fixture
def token(tmp_path: Path, by: Deadline) -> Iterator[Token]:
    with closing(softhsm_token(tmp_path, LABEL, by=by)) as opened:
        yield opened


def test_pair_that_was_made_in_the_token_is_wrapped_for(token: Token, by: Deadline) -> None:
    token.ensure(WRAPPING_ID, WRAPPING_LABEL, KeyProfile.RSA_2048, by=by)

    judge_wrapping_pair(token, by=by)


def test_pair_that_somebody_put_into_the_token_is_refused(
    token: Token, tmp_path: Path, by: Deadline
) -> None:
    put_in(tmp_path, rsa.generate_private_key(65537, 2048))

    with pytest.raises(
        IntegrityFailure, match=r"import key is imported.* LOCAL = False"
    ) as refused:
        judge_wrapping_pair(token, by=by)

    assert "nothing was wrapped for it" in refused.value.hint


def put_in(place: Path, key: rsa.RSAPrivateKey) -> None:
    """By SoftHSM2's own tool, as somebody who has the PIN would."""
    file = place / "theirs.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    pin = Pins.read(place / "pins.toml").user.reveal().decode()
    subprocess.run(
        ["softhsm2-util", "--import", file, "--token", LABEL, "--label", WRAPPING_LABEL,
         "--id", WRAPPING_ID.hex(), "--pin", pin],
        env={**os.environ, "SOFTHSM2_CONF": str(place / "softhsm2.conf")},
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip


def test_a_key_that_an_import_had_brought_is_known_again_and_another_is_not(
    token: Token, tmp_path: Path, by: Deadline
) -> None:
    """So an import that was cut short is ended by the same again."""
    value, other = bytes(range(32)), bytes(32)
    program = f"""
import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass
[token] = pkcs11.lib({softhsm_module()!r}).get_tokens(token_label={LABEL!r})
with token.open(rw=True, user_pin=input()) as session:
    session.create_object({{
        Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES,
        Attribute.TOKEN: True, Attribute.ID: b"storage", Attribute.LABEL: "storage",
        Attribute.ENCRYPT: True, Attribute.DECRYPT: True, Attribute.VALUE: bytes(range(32)),
    }})
"""
    subprocess.run(
        [sys.executable, "-c", program],
        input=Pins.read(tmp_path / "pins.toml").user.reveal(),
        env={**os.environ, "SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf")},
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip

    assert holds(token, b"storage", Secret(value), by=by)
    assert not holds(token, b"storage", Secret(other), by=by)
