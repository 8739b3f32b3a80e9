"""Plans are read as strictly as a contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BadInput
from provisioning.plan import Plan, example_plan, parse_plan, read_plan

BESIDE = Path("/factory")
TA = 'source = "enclave.ta"\nuuid = "5b9e0e40-2636-11e1-ad9e-0002a5d5c51b"'


def parsed(text: str) -> Plan:
    return parse_plan(text.encode(), where="my.toml", beside=BESIDE)


def test_shipped_plan_can_be_read() -> None:
    plan = parsed(example_plan())

    assert (plan.token_label, plan.key_purpose, plan.pins) == ("trustbox", "device-id", None)
    assert (plan.enclave, plan.golden) == (None, None)


def test_box_of_unknown_identity_is_accepted_only_where_the_plan_says_so() -> None:
    accepting = example_plan().replace("[identity]", '[identity]\nunknown = "accept"')

    assert parsed(example_plan()).accept_unknown is False
    assert parsed(example_plan().replace("[identity]", "")).accept_unknown is False
    assert parsed(accepting).accept_unknown is True


def test_paths_are_relative_to_the_plan() -> None:
    text = example_plan().replace('"generate"', '"pins.toml"').replace('source = "sample"', TA)

    plan = parsed(text)

    assert (plan.pins, plan.enclave) == (BESIDE / "pins.toml", BESIDE / "enclave.ta")


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        pytest.param('label = "trustbox"', 'lable = "trustbox"', "token.lable", id="unknown-key"),
        pytest.param("[token]", "[tokens]", r"\[tokens\]", id="unknown-table"),
        pytest.param("validity_days = 3650", "", "certificate.validity_days", id="missing-key"),
        pytest.param("= 3650", "= 0", "certificate.validity_days", id="no-days"),
        pytest.param("= 3650", "= true", "certificate.validity_days", id="no-number"),
        pytest.param("= 3650", "= 3650.5", "certificate.validity_days", id="fraction"),
        pytest.param('"trustbox"', '"%s"' % ("x" * 33), "token.label", id="long-label"),
        pytest.param('"trustbox"', '"box "', "token.label", id="blank-after-label"),
        pytest.param('"trustbox"', '""', "token.label", id="empty-label"),
        pytest.param('profile = "ec-p256"', 'profile = "rsa"', "key.profile", id="unknown-profile"),
        pytest.param('"device-id"', '"../x"', "key.purpose", id="purpose-as-path"),
        pytest.param('= "firmware"', '= "abcd"', "integrity.golden", id="short-golden"),
        pytest.param(
            '= "firmware"',
            '= "firmware"\ntoken_ta = "5A"',
            "integrity.token_ta",
            id="short-token-ta",
        ),
        pytest.param(
            "[identity]", '[identity]\nunknown = "yes"', "identity.unknown", id="unknown-word"
        ),
        pytest.param(
            "[identity]", '[identity]\nunkown = "accept"', "identity.unkown", id="unknown-key-there"
        ),
        pytest.param('= "sample"', '= "my.ta"', "enclave.uuid", id="file-without-uuid"),
        pytest.param('= "sample"', '= "my.ta"\nuuid = "x"', "enclave.uuid", id="bad-uuid"),
        pytest.param(
            '= "sample"',
            '= "~no-such-user/my.ta"\nuuid = "5b9e0e40-2636-11e1-ad9e-0002a5d5c51b"',
            "enclave.source",
            id="no-home",
        ),
        pytest.param(
            '\nsource = "generate"',
            '\nsource = "~no-such-user/pins"',
            "secrets.source",
            id="no-home-of-pins",
        ),
        pytest.param("[key]", "key = 1\n[key2]", r"\[key2\]|key", id="no-table"),
    ],
)
def test_what_is_wrong_is_named(old: str, new: str, key: str) -> None:
    assert old in example_plan()

    with pytest.raises(BadInput, match=rf"^my\.toml: ({key}) is ") as complaint:
        parsed(example_plan().replace(old, new, 1))

    assert complaint.value.exit_status == 2


@pytest.mark.parametrize("noise", [b"\xff\xfe", b"[token", b"a = 1\na = 2"])
def test_what_is_no_toml_is_refused(noise: bytes) -> None:
    with pytest.raises(BadInput, match="the file"):
        parse_plan(noise, where="my.toml", beside=BESIDE)


def test_plan_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        read_plan(tmp_path / "no.toml")
