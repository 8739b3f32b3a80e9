"""Evidence of a key is got without a change to it, also on a token that would let one be made."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.deadline import Deadline
from provisioning.key_evidence import LOOSENING, TokenCode, examine
from provisioning.key_verdict import KeyVerdict
from provisioning.pins import Pins
from provisioning.softhsm import softhsm_module, softhsm_token
from provisioning.token import KeyPair, Token
from provisioning.token_process import TokenProcess
from provisioning.token_public import KeyProfile
from provisioning.token_secrets import SecretKey, SecretProfile

LABEL = "under-test"
PROFILES = (KeyProfile.EC_P256, KeyProfile.RSA_2048, SecretProfile.AES_256, SecretProfile.HMAC_256)
profiles = pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: str(profile.value))


@pytest.fixture(scope="module")
def loose_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("loose") / "loose.so"
    source = Path(__file__).with_name("loose_token.c")
    argv = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", str(made), str(source), "-ldl"]
    subprocess.run(argv, check=True, timeout=60)
    return made


@pytest.fixture
def strict(tmp_path: Path, by: Deadline) -> Iterator[Token]:
    """SoftHSM2, which lets nothing be loosened."""
    with closing(softhsm_token(tmp_path / "hsm", LABEL, by=by)) as opened:
        yield opened


@pytest.fixture
def loose(tmp_path: Path, loose_module: Path, strict: Token, by: Deadline) -> Iterator[Token]:
    """The same token, through a module that lets CKA_EXTRACTABLE be set."""
    strict.close()
    environment = {
        "SOFTHSM2_CONF": str(tmp_path / "hsm" / "softhsm2.conf"),
        "LOOSE_MODULE": softhsm_module(),
        "LOOSE_LOG": str(tmp_path / "set.log"),
    }
    with closing(Token(TokenProcess(str(loose_module), environment=environment))) as opened:
        opened.login(LABEL, Pins.read(tmp_path / "hsm" / "pins.toml").user, by=by)
        yield opened


def made(token: Token, profile: KeyProfile | SecretProfile, by: Deadline) -> KeyPair | SecretKey:
    if isinstance(profile, KeyProfile):
        return token.ensure(b"kept", "kept", profile, by=by)[0]
    return token.ensure_secret(b"kept", "kept", profile, by=by)[0]


def attributes(token: Token, key: KeyPair | SecretKey, by: Deadline) -> dict[str, object]:
    names = ("EXTRACTABLE", "NEVER_EXTRACTABLE", "SENSITIVE", "MODIFIABLE", "LABEL", "ID")
    kind = "private" if isinstance(key, KeyPair) else "secret"
    return dict(token.attributes(key.id, names, kind=kind, by=by))


@pytest.mark.fault(
    "Token",
    "a token that lets CKA_EXTRACTABLE of its keys be set",
    comes="the verdict extractable (status 7), found on a session key that is made like the"
    " one that is looked at; the token's own key is as it was",
    then="do not rely on the token: another module, or another firmware",
)
@profiles
def test_a_token_that_lets_keys_be_loosened_is_caught_and_the_key_is_as_it_was(
    loose: Token, tmp_path: Path, profile: KeyProfile | SecretProfile, by: Deadline
) -> None:
    key = made(loose, profile, by)
    before = attributes(loose, key, by)

    evidence = examine(loose, key, code=TokenCode("m", "0" * 64), state=None, by=by)

    assert evidence.verdict is KeyVerdict.EXTRACTABLE
    assert f"{LOOSENING} was answered CKR_OK" in evidence.faults()
    assert before["EXTRACTABLE"] is False
    assert attributes(loose, key, by) == before
    assert (tmp_path / "set.log").read_text() == "0\n"  # a session's key, and no other


@profiles
def test_a_token_that_refuses_it_has_good_keys_and_keeps_nothing_of_the_probe(
    strict: Token, tmp_path: Path, profile: KeyProfile | SecretProfile, by: Deadline
) -> None:
    key = made(strict, profile, by)
    before = strict.objects(by=by)

    evidence = examine(strict, key, code=TokenCode("m", "0" * 64), state=None, by=by)

    [probe] = [probe for probe in evidence.probes if probe.tried == LOOSENING]
    assert (evidence.verdict, evidence.faults()) == (KeyVerdict.MADE_INSIDE, ())
    assert (probe.refused, probe.given, probe.ran) == (True, False, True)
    strict.logout(by=by)  # SoftHSM2 leaves the false key that it refused until the session ends
    strict.login(LABEL, Pins.read(tmp_path / "hsm" / "pins.toml").user, by=by)
    assert strict.objects(by=by) == before
