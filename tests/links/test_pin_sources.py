"""PINs from a factory's program, and from a secret in its HSM that never leaves it."""

from __future__ import annotations

import hashlib
import hmac
import sys
from pathlib import Path
from uuid import UUID

import pytest

from harness.deadline import Deadline
from harness.errors import BadInput, DeadlineExpired, DeviceRefused, Misuse
from provisioning.authority_tokens import opened_token
from provisioning.key_evidence import TokenCode, examine
from provisioning.key_verdict import KeyVerdict
from provisioning.pin_sources import SECRET_ID, DerivedPins, PinCommand, context
from provisioning.token_secrets import SecretProfile
from provisioning.token_template import KeyTemplate

TEE = UUID("cce197f2-0846-5c81-afad-cd3a123dfb08")
PROGRAM = 'import sys; print(f\'so_pin = "so-{sys.argv[1]}"\\nuser_pin = "u-{sys.argv[2]}"\')'


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.fixture
def derived(tmp_path: Path, by: Deadline) -> DerivedPins:
    source = DerivedPins("softhsm:line", tmp_path)
    source.make(by=by)
    return source


def test_output_of_the_factorys_program_is_the_pin_file(by: Deadline) -> None:
    source = PinCommand((sys.executable, "-c", PROGRAM, "{serial}", "{tee_uuid}"))

    found = source.pins("TB-0042", TEE, by=by)

    assert found.so.reveal() == b"so-TB-0042"
    assert found.user.reveal() == f"u-{TEE}".encode()


def test_serial_number_is_one_word_and_no_shell_sees_it(by: Deadline) -> None:
    source = PinCommand((sys.executable, "-c", PROGRAM, "{serial}", "xyz"))

    found = source.pins("TB; echo `id` $(id)", TEE, by=by)

    assert found.so.reveal() == b"so-TB; echo `id` $(id)"


@pytest.mark.parametrize(
    ("program", "error", "said"),
    [
        ("import sys; sys.exit('no such box')", Misuse, "ended with status 1"),
        ("print('so_pin = 1')", BadInput, "so_pin"),
        ("print('hunter2')", BadInput, "TOML"),
        ("import time, signal; signal.pause()", DeadlineExpired, "the PIN command"),
    ],
    ids=["fails", "a number", "no TOML", "never ends"],
)
def test_program_without_good_pins_is_an_error_that_shows_none(
    program: str, error: type[Exception], said: str
) -> None:
    source = PinCommand((sys.executable, "-c", program))

    with pytest.raises(error, match=said) as problem:
        source.pins("TB-0042", TEE, by=Deadline.after(5))

    assert "hunter2" not in str(problem.value)


def test_program_that_is_not_there_is_named(by: Deadline) -> None:
    with pytest.raises(Misuse, match="cannot be run"):
        PinCommand(("/nowhere/pins",)).pins("TB-0042", TEE, by=by)


def test_each_box_and_role_has_pins_of_its_own_and_always_the_same(
    derived: DerivedPins, by: Deadline
) -> None:
    first, again = (derived.pins("TB-0042", TEE, by=by) for _ in range(2))
    other = derived.pins("TB-0043", TEE, by=by)

    assert (first.so.reveal(), first.user.reveal()) == (again.so.reveal(), again.user.reveal())
    assert len({pin.reveal() for pins in (first, other) for pin in (pins.so, pins.user)}) == 4
    assert {len(pin.reveal()) for pin in (first.so, first.user)} == {24}


def test_secret_is_made_once_and_stays_in_its_token(derived: DerivedPins, by: Deadline) -> None:
    with opened_token(derived.spec, derived.state, by=by) as token:
        secret = token.find_secret(SECRET_ID, by=by)
        assert secret is not None
        evidence = examine(token, secret, code=TokenCode("m", ""), state=token.logged_in, by=by)

    assert not derived.make(by=by)
    assert evidence.verdict is KeyVerdict.MADE_INSIDE


def test_derivation_is_the_standards(tmp_path: Path, by: Deadline) -> None:
    """NIST SP 800-108, counter mode, one block; checked with a secret that shows itself."""
    shows = KeyTemplate("shows", {"SENSITIVE": False, "EXTRACTABLE": True})
    with opened_token("softhsm:line", tmp_path, make=True, by=by) as token:
        token.ensure_secret(SECRET_ID, "s", SecretProfile.HMAC_256, templates=(shows,), by=by)
        value = token.attributes(SECRET_ID, ("VALUE",), kind="secret", by=by)["VALUE"]
        mac = token.mac(SECRET_ID, context("so", "TB-0042"), by=by)

    assert isinstance(value, bytes)
    block = b"\0\0\0\1" + b"trustbox PIN" + b"\0" + b"so\0TB-0042" + b"\0\0\1\0"
    assert mac == hmac.new(value, block, hashlib.sha256).digest()


def test_token_without_the_secret_says_how_to_make_it(tmp_path: Path, by: Deadline) -> None:
    with opened_token("softhsm:line", tmp_path, make=True, by=by):
        pass
    with pytest.raises(DeviceRefused, match="no secret to derive PINs from") as refused:
        DerivedPins("softhsm:line", tmp_path).pins("TB-0042", TEE, by=by)

    assert "factory-secret" in refused.value.diagnostics()
