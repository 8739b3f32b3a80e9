"""An index that is behind what the boxes' records hold, and state that is not what it must be."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import IntegrityFailure, Misuse
from provisioning.authority import Authority
from provisioning.authority_keys import signer_of
from provisioning.authority_lock import locked
from provisioning.authority_recover import carried_out, planned
from provisioning.authority_tokens import ISSUING_ID, ROOT_ID
from provisioning.certificates import pem
from provisioning.cli.ca_options import one_line
from provisioning.softhsm import softhsm_token
from tests.unit.authority_parts import SERIAL, a_key, certified


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


@pytest.mark.fault(
    "CA",
    "an old copy of the index was put back, nothing was revoked since, and a box that was certified"
    " since asks with another key",
    comes="nothing is signed (Misuse, status 2): its record holds a certificate that the index does"
    " not know",
    then="bring back the newest index.sqlite, or trustbox ca recover --records",
)
@pytest.mark.parametrize("directory", [SERIAL, SERIAL.lower()])
def test_box_whose_record_the_index_does_not_know_gets_no_second_identity(
    authority: Authority, tmp_path: Path, by: Deadline, directory: str
) -> None:
    old, records = tmp_path / "old.sqlite", tmp_path / "records"
    shutil.copy(authority.index.path, old)
    first = certified(authority, a_key())
    (records / directory / "issued").mkdir(parents=True)
    (records / directory / "issued" / "1.pem").write_bytes(pem(first))
    certified_again = a_key()
    shutil.copy(old, authority.index.path)

    with pytest.raises(Misuse, match=f"does not know {first.serial_number:x}") as caught:
        certified(authority, certified_again)
    assert f"--records {records}" in caught.value.hint
    assert authority.index.of_device(SERIAL) == ()

    with locked(authority.state, by):
        carried_out(authority.files, planned(authority.files, records, also=[records]))
    assert authority.knows(first)


def test_reason_of_the_list_cannot_drive_a_terminal(authority: Authority, by: Deadline) -> None:
    listed = authority.to_revoke(certified(authority, a_key()), "a\nb\x1b[31m", by=by)

    assert one_line(listed).isprintable()


def test_another_key_in_the_token_says_what_to_bring_back(
    authority: Authority, by: Deadline
) -> None:
    with pytest.raises(IntegrityFailure, match="is not that of") as caught:
        signer_of(authority.token, ROOT_ID, authority.issuing, by)
    assert "backup" in caught.value.hint
    assert signer_of(authority.token, ISSUING_ID, authority.issuing, by)


def test_damaged_configuration_of_softhsm_is_written_again(tmp_path: Path, by: Deadline) -> None:
    """It says where the tokens are, and nothing that is not known."""
    softhsm_token(tmp_path, "factory", by=by).close()
    configuration = tmp_path / "softhsm2.conf"
    before = configuration.read_bytes()
    configuration.write_bytes(bytes(range(128, 256)))

    softhsm_token(tmp_path, "factory", by=by).close()

    assert configuration.read_bytes() == before
