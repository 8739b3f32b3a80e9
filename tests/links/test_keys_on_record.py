"""What cannot be undone in a box's token is on the box's record: meant before, ended after; and the
certificates of keys that are gone are on the CA's list of those to revoke."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from harness.deadline import Deadline
from harness.secret import Secret
from harness.target import Target
from provisioning.journal import unended
from provisioning.keys import KeySession
from provisioning.station import Station
from provisioning.token import KeyPair
from provisioning.trustbox import TrustBox
from tests.links.host_box import SERIAL, HostBox, host_box
from tests.links.sshd import LocalSshd
from tests.links.token_rows import LABEL, USER, ours, plan
from tests.small_disk import fill, small_disk
from tests.typed import Said, typed

pytestmark = pytest.mark.slow
Typed = Callable[..., Said]


@pytest.fixture
def box(sshd: LocalSshd, tmp_path: Path, by: Deadline) -> Iterator[HostBox]:
    """With a token that is ours."""
    (tmp_path / "box").mkdir()
    with host_box(sshd, tmp_path / "box") as made:
        plan(made)  # writes the file of PINs
        with closing(KeySession(made.target)) as keys:
            ours(keys, by)
        yield made


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


@pytest.fixture
def trustbox_keys(
    box: HostBox,
    station: Station,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Typed:
    """``trustbox keys``, as it is typed, but that the box is open already."""

    @contextmanager
    def already_open(*_: object, lasting: str | None = None, **__: object) -> Iterator[Target]:
        yield replace(box.target, lasting=lasting == SERIAL)

    monkeypatch.setattr("provisioning.cli.keys_options.opened", already_open)
    where = ("--pins", str(box.pins), "--state", str(station.state))
    return lambda *words: typed(monkeypatch, capsys, "keys", *words, *where)


@contextmanager
def logged_in(box: HostBox, by: Deadline) -> Iterator[KeySession]:
    with closing(KeySession(box.target)) as keys:
        keys.login(LABEL, Secret(USER.encode()), by=by)
        yield keys


def certified(
    box: HostBox, station: Station, keys: KeySession, by: Deadline, *, generation: int = 1
) -> tuple[KeyPair, x509.Certificate]:
    """A generation of the device key, with a certificate of the station's CA in the token."""
    key, _ = keys.generate("device-id", generation=generation, by=by)
    with TrustBox(box.target) as opened, station.authority(make=True, by=by) as ca:
        opened.keys.login(LABEL, Secret(USER.encode()), by=by)
        there = next((entry.number for entry in ca.good(SERIAL)), None)
        made = ca.certify(
            opened.identity.request(key, by=by), SERIAL, days=30, replaces=there, by=by
        )
    subject = made.subject.public_bytes()
    keys.store_certificate(key, made.public_bytes(Encoding.DER), subject=subject, by=by)
    return key, made


def lines(station: Station) -> list[tuple[str, str]]:
    text = (station.records(SERIAL) / "journal.jsonl").read_text()
    return [(line["step"], line["phase"]) for line in map(json.loads, text.splitlines())]


def to_revoke(station: Station) -> list[int]:
    from provisioning.authority_files import CaFiles

    return sorted(entry.number for entry in CaFiles(station.state / "ca").index.to_revoke())


def cut_short(station: Station, step: str, doing: str, keys: str = "") -> None:
    """A command that is killed after its intent, before anybody could write down how it ended."""
    program = f"""
import os, pathlib
from harness.deadline import Deadline
from provisioning.lost_keys import Going
from provisioning.on_record import on_record
from provisioning.station import Station
gone = Going(frozenset({keys!r}.split()))
station = Station(pathlib.Path({str(station.state)!r}))
with on_record(station, {SERIAL!r}, {step!r}, {doing!r}, gone=gone, by=Deadline.after(30)):
    os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert done.returncode == 9


@pytest.mark.fault(
    "Token",
    "a token is wiped, or a key erased or retired, while its certificate is still good",
    comes="status 0; the box's journal has intent and end, the certificate is on the CA's list"
    " of those to revoke, and of another CA's certificate its issuer is named",
    then="trustbox ca show lists what is to be revoked; revoke it",
)
def test_a_wiped_token_is_on_the_record_and_its_certificate_on_the_list_to_revoke(
    trustbox_keys: Typed, box: HostBox, station: Station, by: Deadline
) -> None:
    with logged_in(box, by) as keys:
        _, certificate = certified(box, station, keys, by)

    wiped = trustbox_keys("wipe", "--lasting", SERIAL, "--json")

    assert wiped.status == 0
    assert json.loads(wiped.out)["to_revoke"] == [f"{certificate.serial_number:x}"]
    assert f"certificate {certificate.serial_number:x} of {SERIAL} is still good" in wiped.err
    assert to_revoke(station) == [certificate.serial_number]
    assert lines(station) == [(f"keys wipe {LABEL}", "intent"), (f"keys wipe {LABEL}", "done")]


def test_a_certificate_of_another_ca_is_named_with_its_issuer(
    trustbox_keys: Typed, box: HostBox, station: Station, tmp_path: Path, by: Deadline
) -> None:
    with logged_in(box, by) as keys:
        key, theirs = certified(box, Station(tmp_path / "another"), keys, by)

    erased = trustbox_keys("erase", key.id.hex(), "--lasting", SERIAL, "--json")

    issuer = theirs.issuer.rfc4514_string()
    told = {"number": f"{theirs.serial_number:x}", "issuer": issuer}
    assert erased.status == 0
    assert json.loads(erased.out)["of_other_cas"] == [told]
    assert f"{issuer} issued it: have it revoked there" in erased.err
    assert "this station's CA could not be asked" in erased.err


def test_a_retired_generations_certificate_is_to_revoke_and_the_new_ones_is_not(
    trustbox_keys: Typed, box: HostBox, station: Station, by: Deadline
) -> None:
    with logged_in(box, by) as keys:
        _, old = certified(box, station, keys, by)
        _, new = certified(box, station, keys, by, generation=2)

    retired = trustbox_keys("retire", "device-id", "--json")

    assert (retired.status, json.loads(retired.out)["erased"]) == (0, [1])
    assert to_revoke(station) == [old.serial_number]
    assert new.serial_number not in to_revoke(station)


@pytest.mark.fault(
    "Files",
    "a command that cannot be undone (keys wipe, erase, retire, import, pin change) was cut short",
    comes="every later command on that box says what was begun and never ended",
    then="run the same command again: it ends what was begun, certificates included",
)
def test_a_wipe_that_was_cut_short_is_told_and_ended_by_the_next_one(
    trustbox_keys: Typed, box: HostBox, station: Station, by: Deadline
) -> None:
    with logged_in(box, by) as keys:
        key, certificate = certified(box, station, keys, by)
        keys.erase(key, by=by)  # as far as it came: the token does not show it any more
    cut_short(station, f"keys wipe {LABEL}", "erasing the token", keys=key.spki_sha256)

    told = trustbox_keys("list")
    again = trustbox_keys("wipe", "--lasting", SERIAL, "--json")
    after = trustbox_keys("list")

    assert f"keys wipe {LABEL} was begun on" in told.err
    assert again.status == 0
    assert to_revoke(station) == [certificate.serial_number]
    assert "never ended" not in after.err


def test_an_erasing_that_was_cut_short_is_ended_by_the_same_again(
    trustbox_keys: Typed, box: HostBox, station: Station, by: Deadline
) -> None:
    with logged_in(box, by) as keys:
        key, certificate = certified(box, station, keys, by)
        keys.erase(key, by=by)
    refused = trustbox_keys("erase", key.id.hex(), "--lasting", SERIAL)
    step = f"keys erase {key.id.hex()}"
    cut_short(station, step, "erasing device-id", keys=key.spki_sha256)

    again = trustbox_keys("erase", key.id.hex(), "--lasting", SERIAL, "--json")

    assert refused.status == 2
    assert (again.status, json.loads(again.out)["erased"]) == (0, [])
    assert to_revoke(station) == [certificate.serial_number]
    assert unended(station.records(SERIAL) / "journal.jsonl") == ()


def test_a_key_that_a_cut_attempt_left_and_the_next_one_kept_is_not_gone(
    trustbox_keys: Typed, box: HostBox, station: Station, by: Deadline
) -> None:
    """`rotate --anew` was to erase it, was cut before that, and `rotate` went on with it."""
    with logged_in(box, by) as keys:
        _, first = certified(box, station, keys, by)
        second, certificate = certified(box, station, keys, by, generation=2)
        keys.token.destroy("certificate", second.id, by=by)  # not installed yet
    cut_short(station, "keys rotate device-id", "making it", keys=second.spki_sha256)

    again = trustbox_keys("rotate", "device-id", "--key-only", "--json")

    assert (again.status, json.loads(again.out)["new"]) == (0, 2)
    assert certificate.serial_number not in to_revoke(station)
    assert f"certificate {first.serial_number:x} of generation 1 stays good" in again.err


def test_what_failed_is_on_the_record_with_its_reason(
    trustbox_keys: Typed, box: HostBox, station: Station, by: Deadline
) -> None:
    with logged_in(box, by) as keys:
        keys.generate("device-id", by=by)

    refused = trustbox_keys("retire", "device-id", "--json")  # its newest has no certificate

    assert refused.status == 2
    assert [phase for _, phase in lines(station)] == ["intent", "failed"]


def test_nothing_is_erased_when_the_intent_cannot_be_written_down(
    trustbox_keys: Typed, box: HostBox, station: Station, by: Deadline
) -> None:
    station.state.mkdir(mode=0o700)
    with logged_in(box, by) as keys:
        key, _ = keys.generate("device-id", by=by)
    with small_disk(station.state / "records") as disk:
        fill(disk)

        full = trustbox_keys("erase", key.id.hex(), "--lasting", SERIAL, "--json")

    told = json.loads(full.err.splitlines()[-1])
    assert (full.status, told["error"]) == (8, "DiskFailed")
    assert "journal.jsonl cannot be written: No space left" in told["message"]
    with logged_in(box, by) as keys:
        assert keys.find("device-id", by=by) == key


def test_other_pins_are_on_the_record(trustbox_keys: Typed, box: HostBox, station: Station) -> None:
    new = box.place / "new-pins.toml"
    new.touch(mode=0o600)
    new.write_text(box.pins.read_text().replace(USER, "another-" + USER))

    changed = trustbox_keys("pin", "change", "--new-pins", str(new), "--json")

    assert changed.status == 0
    step = f"keys pin change {LABEL} user"
    assert lines(station) == [(step, "intent"), (step, "done")]
    assert USER not in (station.records(SERIAL) / "journal.jsonl").read_text()
