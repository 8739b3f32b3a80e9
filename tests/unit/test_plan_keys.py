"""What a plan says about keys and PINs, and what of it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BadInput
from provisioning.plan import Plan, example_plan, parse_plan
from provisioning.token_public import KeyProfile
from provisioning.token_secrets import SecretProfile

GENERATE = '\nsource = "generate"'


def parsed(*changes: tuple[str, str]) -> Plan:
    text = example_plan()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return parse_plan(text.encode(), where="my.toml", beside=Path("/plans"))


def test_device_key_is_of_the_profile_that_is_named() -> None:
    plan = parsed(('\nprofile = "ec-p256"', '\nprofile = "rsa-3072"'))

    assert plan.key_profile is KeyProfile.RSA_3072


def test_more_keys_are_named_by_their_purpose() -> None:
    plan = parsed(("[keys]", '[keys]\nstorage = "aes-256"\nsigning = "ed25519"'))

    assert plan.keys == {"storage": SecretProfile.AES_256, "signing": KeyProfile.ED25519}
    assert parsed().keys == {}


def test_pins_come_from_a_command_or_from_the_hsm() -> None:
    command = parsed((GENERATE, '\nsource = "command"\ncommand = ["/bin/pins", "{serial}"]'))
    derived = parsed((GENERATE, '\nsource = "derived"\nhsm = "softhsm:line"'))

    assert (command.pin_command, command.pin_hsm, command.pins) == (
        ("/bin/pins", "{serial}"),
        None,
        None,
    )
    assert (derived.pin_command, derived.pin_hsm, derived.pins) == (None, "softhsm:line", None)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        (GENERATE, '\nsource = ""', "secrets.source"),
        (GENERATE, "\nsource = 1", "secrets.source"),
        (GENERATE, '\nsource = "command"', "secrets.command"),
        (GENERATE, '\nsource = "command"\ncommand = []', "secrets.command"),
        (GENERATE, '\nsource = "command"\ncommand = "/bin/pins"', "secrets.command"),
        (GENERATE, '\nsource = "command"\ncommand = ["/bin/pins", 1]', "secrets.command"),
        (GENERATE, '\nsource = "generate"\ncommand = ["/bin/pins"]', "secrets.command"),
        (GENERATE, '\nsource = "derived"', "secrets.hsm"),
        (GENERATE, '\nsource = "derived"\nhsm = "/dev/hsm"', "secrets.hsm"),
        (GENERATE, '\nsource = "generate"\nhsm = "softhsm:line"', "secrets.hsm"),
        (GENERATE, '\nsource = "generate"\npin = "1234"', "secrets.pin"),
        ("[keys]", '[keys]\nstorage = "aes-512"', "keys.storage"),
        ("[keys]", "[keys]\nstorage = 1", "keys.storage"),
        ("[keys]", '[keys]\ndevice-id = "ec-p256"', "keys.device-id"),
        ("[keys]", '[keys]\n"../x" = "ec-p256"', r"keys.\.\./x"),
        ('\nprofile = "ec-p256"', '\nprofile = "ed25519"', "key.profile"),
        ('\nprofile = "ec-p256"', '\nprofile = "aes-256"', "key.profile"),
        ('\nprofile = "ec-p256"', "", "key.profile"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, key: str) -> None:
    with pytest.raises(BadInput, match=rf"^my\.toml: {key} is "):
        parsed((old, new))
