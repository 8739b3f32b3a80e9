"""One rule for serial numbers, and no empty word that chooses another box."""

from __future__ import annotations

import pytest

from emulator.box_store import check_serial
from harness.config import parse
from harness.deadline import Deadline
from harness.errors import BadInput, Misuse
from harness.serial_number import checked_serial, is_serial
from harness.targets import open_target
from provisioning.csr import registration_id
from tests.links.est_command import trustbox
from tests.unit.test_config_bench import EIGHT

BAD = [
    "",
    "TB-T1-",
    "TB--",
    "-TB-1",
    "-",
    "TB 1",
    "TB_1",
    "TB/1",
    "../1",
    "TB-1\n",
    "ÄB-1",
    "x" * 65,
]
GOOD = ["TB-T1", "TB-EMU-0001", "tb-0042", "0042", "x" * 64]


@pytest.mark.parametrize("serial", GOOD)
def test_what_enrollment_takes_is_a_serial_number(serial: str) -> None:
    assert is_serial(serial)
    assert registration_id(serial) == serial.lower()


@pytest.mark.parametrize("serial", BAD)
def test_what_no_certificate_could_name_is_refused_at_every_door(serial: str, by: Deadline) -> None:
    with pytest.raises(BadInput, match="no dash first or last"):
        checked_serial(serial)
    with pytest.raises(Misuse):
        registration_id(serial)
    with pytest.raises(BadInput):
        check_serial(serial)
    with pytest.raises(BadInput, match="--serial"), open_target(serial=serial, by=by):
        pass
    with pytest.raises(BadInput, match="--lasting"), open_target(lasting=serial, by=by):
        pass


ENTRIES = {"emulator": '[bench-07]\nkind = "emulator"\n', "bench": EIGHT}


@pytest.mark.parametrize("kind", ENTRIES)
def test_a_targets_entry_with_such_a_number_is_refused_with_its_key(kind: str) -> None:
    text = ENTRIES[kind] + 'serial = "TB-T1-"\n'

    with pytest.raises(BadInput, match=r"bench-07\.serial .*no dash first or last"):
        parse(text, "targets.toml")


@pytest.mark.fault(
    "Files",
    "an option's value is empty: a variable of the shell that is not set",
    comes="Misuse, status 2, with the option's name; no box is opened, no directory chosen",
    then="set the variable, or leave the option out",
)
@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("provision", "plan.toml", "--serial", ""), "--serial has an empty value"),
        (("provision", "plan.toml", "--out", ""), "--out has an empty value"),
        (("provision", "plan.toml", "--lasting="), "--lasting has an empty value"),
        (("targets", "check", "-t", ""), "-t has an empty value"),
        (("ca", "show", "--state", ""), "--state has an empty value"),
        (("keys", "list", "--pins", ""), "--pins has an empty value"),
        (("emulator", "stop", "--serial", ""), "--serial has an empty value"),
        (("verify", ""), "an argument is empty"),
    ],
)
@pytest.mark.slow
def test_an_empty_word_is_never_taken_as_not_given(words: tuple[str, ...], named: str) -> None:
    done = trustbox(*words)

    assert done.returncode == 2
    assert named in done.stderr.decode()
