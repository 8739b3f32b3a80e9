"""Policy files: the shipped one is whole, and a wrong one is refused by file, key and value."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.target import EvidenceLevel
from provisioning.policies import DEFAULT
from provisioning.policy import Check, Policy
from provisioning.policy_file import Pinned, PolicyFile, read_policy
from tests.unit import attested

pytestmark = pytest.mark.integrity
FILES = {"fd02c9da-306c-48c7-a49c-bbd827ae86ee.ta": "5a" * 32}


def written(tmp_path: Path, text: str) -> PolicyFile:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    return read_policy(path)


def asked(file: PolicyFile, level: EvidenceLevel, pinned: Pinned | None = None) -> Policy:
    return file.policy(nonce=bytes(32), level=level, golden=bytes(32), pinned=pinned)


def test_the_shipped_policy_asks_more_of_hardware_than_of_an_emulator() -> None:
    shipped = read_policy(DEFAULT)

    assert Check.DEFAULT_PASSWORDS in asked(shipped, EvidenceLevel.FUNCTIONAL).tolerate
    assert Check.DEFAULT_PASSWORDS in asked(shipped, EvidenceLevel.HARDWARE).required
    assert Check.BOOT_STATE in asked(shipped, EvidenceLevel.HARDWARE_FUSED).required


def test_what_the_file_says_goes_before_what_was_pinned(tmp_path: Path) -> None:
    file = written(tmp_path, f'counter = 4\n[ta_files]\n"{next(iter(FILES))}" = "{"5a" * 32}"\n')
    pinned = Pinned(key=attested.public_key(), ta_files={}, counter=3)

    policy = asked(file, EvidenceLevel.FUNCTIONAL, pinned)

    assert (policy.key, policy.ta_files, policy.counter) == (attested.public_key(), FILES, 4)
    assert policy.required >= {Check.KEY, Check.TA_FILES, Check.STORAGE_FRESH}


def test_what_was_pinned_counts_where_the_file_is_silent(tmp_path: Path) -> None:
    policy = asked(written(tmp_path, ""), EvidenceLevel.FUNCTIONAL, Pinned(None, FILES, 3))

    assert (policy.ta_files, policy.counter) == (FILES, 3)


def test_the_higher_counter_counts_and_the_pinned_tee_uuid_is_required(tmp_path: Path) -> None:
    file = written(tmp_path, "counter = 1\n")
    pinned = Pinned(counter=17, tee_uuid=attested.TEE_UUID)

    policy = asked(file, EvidenceLevel.FUNCTIONAL, pinned)

    assert (policy.counter, policy.tee_uuid) == (17, attested.TEE_UUID)
    assert Check.TEE_UUID in policy.required


def test_who_may_open_the_tee_is_the_policy_s_to_say(tmp_path: Path) -> None:
    file = written(tmp_path, 'tee_groups = ["teeclnt"]\n')

    assert asked(file, EvidenceLevel.FUNCTIONAL).tee_groups == {"teeclnt"}
    with pytest.raises(BadInput, match="tee_groups"):
        written(tmp_path, 'tee_groups = ["no group"]\n')


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("require = [", "the file", id="no TOML"),
        pytest.param('require = ["tee-memery"]', "policy.require", id="no such check"),
        pytest.param("demand = []", "policy.demand", id="no such key"),
        pytest.param('tolerate = ["tee-memory"]', "tolerate", id="a measurement tolerated"),
        pytest.param(
            'require = ["ima"]\n[hardware]\ntolerate = ["ima"]', "tolerate", id="both at once"
        ),
        pytest.param('ports = ["22"]', "policy.ports", id="a port without protocol"),
        pytest.param("counter = -1", "policy.counter", id="a counter below zero"),
        pytest.param('[ta_files]\n"x.ta" = "00"', "policy.ta_files.x.ta", id="no TA name"),
        pytest.param('[enclave]\nfile = "none.ta"', "policy.enclave.file", id="no such file"),
        pytest.param("[functional]\nport = 1", "policy.functional.port", id="unknown, deeper"),
    ],
)
def test_a_wrong_policy_is_refused_by_its_key(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(BadInput) as caught:
        written(tmp_path, text)

    assert caught.value.key == key
    assert str(tmp_path) in caught.value.where
