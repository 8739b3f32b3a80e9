"""An index, or another file of the CA, that is lost or older than what was published."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import IntegrityFailure, Misuse
from provisioning.authority import Authority
from provisioning.authority_open import open_authority
from provisioning.authority_publish import crl_number
from provisioning.authority_tokens import ROOT_ID
from provisioning.softhsm import softhsm_token
from provisioning.token import Token
from tests.unit.authority_parts import P256, SERIAL, a_key, certified


@pytest.fixture
def by() -> Deadline:
    return Deadline.after(60)


def octets(ca: Path) -> dict[str, bytes]:
    """Of every file but the lock and the ceremony's journal."""
    passed = ("lock", "ceremony.jsonl")
    return {f.name: f.read_bytes() for f in sorted(ca.iterdir()) if f.name not in passed}


def of_everything(authority: Authority, by: Deadline) -> list[Callable[[], object]]:
    """What a CA does, each of which signs or asks the index."""
    number = authority.issuing.serial_number
    return [
        lambda: certified(authority, a_key()),
        lambda: authority.renew(SERIAL, now=True, by=by),
        lambda: authority.revoke(number, "keyCompromise", by=by),
        lambda: authority.publish(now=True, by=by),
        lambda: authority.is_revoked(authority.issuing),
        lambda: open_authority(authority.token, authority.state, by=by),
        lambda: open_authority(authority.token, authority.state, make=P256, by=by),
    ]


@pytest.mark.fault(
    "CA",
    "the index (index.sqlite) is lost",
    comes="Misuse, status 2, of every command, ca show too; nothing is signed and none is made",
    then="bring back the newest copy, or trustbox ca recover",
    case="F-01",
)
@pytest.mark.parametrize("left", ["nothing", "an empty file"])
def test_lost_index_stops_everything_and_signs_nothing(
    authority: Authority, by: Deadline, left: str
) -> None:
    place = authority.index.path
    place.unlink()
    if left == "an empty file":
        place.touch(mode=0o600)
    before = octets(authority.state)

    for do in of_everything(authority, by):
        with pytest.raises(Misuse, match=r"index\.sqlite is lost") as lost:
            do()
        assert "trustbox ca recover" in lost.value.diagnostics()

    assert octets(authority.state) == before


@pytest.mark.fault(
    "CA",
    "an old copy of the index was put back",
    comes="Misuse, status 2: a CRL was published, or a certificate of the CA made, that it does not"
    " know; nothing is signed",
    then="bring back the newest copy, or trustbox ca recover --from the old one",
    case="F-02",
)
@pytest.mark.parametrize(
    "since",
    ["a revocation", "a revocation, and a CRL begun", "a fresh CRL", "another CRL of its number"],
)
def test_older_index_stops_everything_and_turns_no_revocation_back(
    authority: Authority, by: Deadline, since: str
) -> None:
    victim, copy = certified(authority, a_key()), authority.state.with_name("copy.sqlite")
    shutil.copy(authority.index.path, copy)
    if since.startswith("a revocation"):
        authority.revoke(victim.serial_number, "keyCompromise", by=by)
    else:
        authority.publish(now=True, by=by)
    published = (authority.state / "issuing.crl").read_bytes()
    shutil.copy(copy, authority.index.path)
    if since == "a revocation, and a CRL begun":  # its number is not behind any more
        authority.index.next_crl("issuing")
    if since == "another CRL of its number":  # signed before the published one was brought back
        (authority.state / "issuing.crl").unlink()
        open_authority(authority.token, authority.state, make=P256, by=by)
        (authority.state / "issuing.crl").write_bytes(published)
    before = octets(authority.state)

    for do in of_everything(authority, by)[:4]:
        with pytest.raises(Misuse, match="not the newest one") as older:
            do()
        assert "trustbox ca recover" in older.value.diagnostics()

    assert octets(authority.state) == before


def test_index_of_another_ca_is_not_taken_for_this_ones(
    authority: Authority, token: Token, tmp_path: Path, by: Deadline
) -> None:
    """Its files are of one key here, and the numbers of its certificates of another time."""
    other = open_authority(token, tmp_path / "other", make=P256, by=by)
    shutil.copy(other.index.path, authority.index.path)

    with pytest.raises(Misuse, match=r"does not know root\.pem"):
        certified(authority, a_key())


@pytest.mark.fault(
    "CA",
    "the CA's settings (ca.json) are lost or damaged",
    comes="Misuse, status 2; nothing is signed, no token and no CA is made",
    then="bring the file back, or trustbox ca init with the options of the first time",
    case="F-03",
)
@pytest.mark.parametrize("left", [None, b"{"], ids=["lost", "damaged"])
def test_lost_settings_stop_everything(
    authority: Authority, by: Deadline, left: bytes | None
) -> None:
    place = authority.state / "ca.json"
    place.unlink() if left is None else place.write_bytes(left)
    before = octets(authority.state)

    with pytest.raises(Misuse, match=r"ca\.json"):
        open_authority(authority.token, authority.state, by=by)
    with pytest.raises(Misuse, match="lost" if left is None else r"ca\.json"):
        open_authority(authority.token, authority.state, make=None, by=by)

    assert octets(authority.state) == before


@pytest.mark.fault(
    "CA",
    "the token lost the CA's key and a certificate file is gone as well",
    comes="IntegrityFailure, status 7; no key is made in the place of the old one",
    then="bring back the token, or its backup",
    case="F-05",
)
@pytest.mark.parametrize("role", ["root", "issuing"])
def test_key_with_which_something_was_signed_is_never_made_anew(
    authority: Authority, tmp_path: Path, by: Deadline, role: str
) -> None:
    (authority.state / f"{role}.pem").unlink()
    before, other = octets(authority.state), softhsm_token(tmp_path / "other", "factory", by=by)
    try:
        with pytest.raises(IntegrityFailure, match=f"does not hold the {role} CA's key"):
            open_authority(other, authority.state, make=P256, by=by)
        assert other.objects(by=by) == ()
    finally:
        other.close()

    assert octets(authority.state) == before


def test_another_key_in_the_place_of_the_cas_signs_no_second_root(
    authority: Authority, tmp_path: Path, by: Deadline
) -> None:
    """root.pem is gone, and the token that is named holds a key under the same CKA_ID."""
    (authority.state / "root.pem").unlink()
    before, other = octets(authority.state), softhsm_token(tmp_path / "other", "factory", by=by)
    other.ensure(ROOT_ID, "another root", by=by)
    try:
        with pytest.raises(IntegrityFailure, match="does not hold the root CA's key"):
            open_authority(other, authority.state, make=P256, by=by)
    finally:
        other.close()

    assert octets(authority.state) == before


@pytest.mark.fault(
    "CA",
    "an entry of the index is damaged",
    comes="Misuse, status 2, with the file; nothing is signed",
    then="bring back the newest copy, or trustbox ca recover",
)
@pytest.mark.parametrize(
    "noise",
    [
        "UPDATE certificate SET der = x'3003' WHERE role = 'device'",
        "UPDATE certificate SET revoked = 'yesterday' WHERE role = 'device'",
        "UPDATE certificate SET number = 'many', revoked = issued WHERE role = 'device'",
    ],
    ids=["certificate", "date", "number"],
)
def test_damaged_entry_of_the_index_stops_with_what_to_do(authority: Authority, noise: str) -> None:
    key = a_key()
    certified(authority, key)
    with closing(sqlite3.connect(authority.index.path)) as database:
        database.execute(noise)
        database.commit()

    with pytest.raises(Misuse, match=r"index\.sqlite") as damaged:
        certified(authority, key)

    assert "trustbox ca recover" in damaged.value.diagnostics()


@pytest.mark.parametrize("name", ["root.pem", "issuing.pem", "root.crl", "issuing.crl"])
def test_lost_file_stops_and_the_ceremony_puts_it_back_with_the_key_of_before(
    authority: Authority, token: Token, by: Deadline, name: str
) -> None:
    place, numbers = authority.state / name, of_crls(authority)
    before = place.read_bytes()
    place.unlink()

    with pytest.raises(Misuse, match=name) as missing:
        open_authority(token, authority.state, by=by)
    again = open_authority(token, authority.state, make=P256, by=by)

    assert "trustbox ca init" in missing.value.diagnostics()
    assert (again.root, again.issuing) == (authority.root, authority.issuing)
    assert place.read_bytes() == before or name.endswith(".crl")
    assert all(of_crls(again)[role] >= number for role, number in numbers.items())


@pytest.mark.fault(
    "Token",
    "pins.toml of the station's SoftHSM2 token is lost",
    comes="Misuse, status 2; no PIN is written over it and no token made",
    then="bring it back from the backup",
)
def test_lost_pins_of_a_token_are_not_made_anew(tmp_path: Path, by: Deadline) -> None:
    softhsm_token(tmp_path, "factory", by=by).close()
    (tmp_path / "pins.toml").unlink()

    with pytest.raises(Misuse, match=r"pins\.toml is lost"):
        softhsm_token(tmp_path, "factory", by=by)

    assert not (tmp_path / "pins.toml").exists()


def of_crls(authority: Authority) -> dict[str, int]:
    found = {role: authority.files.crl(role) for role in ("root", "issuing")}
    return {role: crl_number(crl) for role, crl in found.items() if crl}
