"""``trustbox ca`` when files of the CA are lost, older, or looked for in the wrong place."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import Misuse
from provisioning.authority_entry import NewRow
from provisioning.authority_open import StationCa
from provisioning.authority_publish import crl_number
from tests.links.ca_hsm import Factory

pytestmark = pytest.mark.slow
COMMANDS = {
    "show": (),
    "issue": ("REQUEST", "--serial", "TB-1"),
    "renew": ("--crl", "--now"),
    "revoke": ("--device", "TB-1"),
    "to-revoke": ("4711", "--why", "lost"),
}


def asked(factory: Factory, command: str) -> subprocess.CompletedProcess[str]:
    request = str(factory.request("TB-1"))
    words = [request if word == "REQUEST" else word for word in COMMANDS[command]]
    return factory.ca(command, *words)


def tree(place: Path) -> set[str]:
    return {str(f.relative_to(place)) for f in place.rglob("*")}


@pytest.mark.fault(
    "CA",
    "a mistyped --state: a directory that is empty, or not there",
    comes="Misuse, status 2; no file and no directory is made",
    then="give the right --state, or trustbox ca init",
    case="F-04",
)
@pytest.mark.parametrize("command", [*COMMANDS, "recover", "renew --issuing", "revoke --issuing"])
@pytest.mark.parametrize("there", [True, False], ids=["empty", "not there"])
def test_mistyped_state_stops_and_makes_nothing(
    factory: Factory, command: str, there: bool
) -> None:
    request = str(factory.request("TB-1"))
    factory.state = factory.place / "mistyped"
    if there:
        factory.state.mkdir()
    verb, *words = command.split()
    words += [request if word == "REQUEST" else word for word in COMMANDS.get(command, ())]

    done = factory.ca(verb, *words)

    assert done.returncode == 2, done.stderr
    assert "--state" in done.stderr
    assert "trustbox ca init" in done.stderr
    assert tree(factory.state) == set()
    assert factory.state.exists() is there


@pytest.mark.parametrize("command", COMMANDS)
def test_lost_index_stops_each_command_with_what_to_do(set_up: Factory, command: str) -> None:
    (set_up.state / "ca" / "index.sqlite").unlink()
    before = tree(set_up.state)

    done = asked(set_up, command)

    assert done.returncode == 2
    assert "index.sqlite is lost" in done.stderr
    assert "trustbox ca recover" in done.stderr
    assert tree(set_up.state) == before


@pytest.mark.fault(
    "CA",
    "the CA's directory is lost, its SoftHSM2 tokens or records of boxes are there",
    comes="Misuse, status 2; no root, no index and no token is made",
    then="bring back ca/ from the backup; trustbox ca init --new-ca only if all of it is gone",
)
@pytest.mark.parametrize("left", ["tokens", "records", "both"])
def test_lost_ca_beside_its_tokens_or_records_is_not_made_anew(
    factory: Factory, tmp_path: Path, left: str
) -> None:
    factory.state = tmp_path / "station"
    assert factory.ca("init").returncode == 0
    shutil.rmtree(factory.state / "ca")
    if left != "records":
        assert (factory.state / "hsm" / "pins.toml").exists()
    else:
        shutil.rmtree(factory.state / "hsm")
        shutil.rmtree(factory.state / "hsm-root")
    if left != "tokens":
        (factory.state / "records" / "TB-1").mkdir(parents=True)
        (factory.state / "records" / "TB-1" / "record.json").write_text("{}")
    before = tree(factory.state)

    told = [factory.ca("init"), factory.ca("show"), factory.ca("renew", "--crl")]
    by = Deadline.after(60)
    with (
        pytest.raises(Misuse, match="the CA of this station is lost"),
        StationCa(factory.state).opened(make=True, by=by),
    ):
        raise AssertionError("a CA was made by itself")

    assert [done.returncode for done in told] == [2, 2, 2]
    assert all("the CA of this station is lost" in done.stderr for done in told)
    assert tree(factory.state) - before <= {"hsm/lock", "hsm-root/lock"}
    assert factory.ca("init", "--new-ca").returncode == 0


def test_ca_that_has_certified_a_box_is_not_completed_by_itself(
    factory: Factory, tmp_path: Path
) -> None:
    """A file that is missing then was there before: a person has to look."""
    factory.state, by = tmp_path / "station", Deadline.after(60)
    with StationCa(factory.state).opened(make=True, by=by) as made:
        assert made.made_now
    (factory.state / "ca" / "issuing.crl").unlink()
    with StationCa(factory.state).opened(make=True, by=by):
        pass
    factory.ca("issue", str(factory.request("TB-1")), "--serial", "TB-1")
    (factory.state / "ca" / "issuing.crl").unlink()

    with (
        pytest.raises(Misuse, match=r"issuing\.crl is not there"),
        StationCa(factory.state).opened(make=True, by=by),
    ):
        raise AssertionError("a CA was completed by itself")


def test_lost_settings_are_given_again_and_must_be_of_this_ca(set_up: Factory) -> None:
    ca = set_up.state / "ca"
    settings, root = (ca / "ca.json").read_bytes(), (ca / "root.pem").read_bytes()
    (ca / "ca.json").unlink()
    stopped = asked(set_up, "issue")
    root_uri, line_uri = set_up.uri("Root CA"), set_up.uri("Line CA")

    none = set_up.ca("init")
    kind = set_up.ca("init", *set_up.tokens(), "--issuing-key", "rsa-3072")
    wrong = set_up.ca("init", "--root-token", line_uri, "--issuing-token", root_uri)
    right = set_up.ca("init", *set_up.tokens(), "--json")

    assert stopped.returncode == 2
    assert "ca.json is lost" in stopped.stderr
    assert (none.returncode, kind.returncode, wrong.returncode) == (2, 2, 7)
    assert "--issuing-key ec-p256" in kind.stderr
    outcomes = {s["step"]: s["outcome"] for s in json.loads(right.stdout)["steps"]}
    assert outcomes.pop("settings") == "done"
    assert set(outcomes.values()) == {"already"}
    assert ((ca / "ca.json").read_bytes(), (ca / "root.pem").read_bytes()) == (settings, root)
    assert not (set_up.state / "hsm").exists()


def test_recovery_says_what_it_would_do_and_does_it_when_the_serial_number_is_typed(
    set_up: Factory,
) -> None:
    issued = set_up.ca("issue", str(set_up.request("TB-1")), "--serial", "TB-1", "--json")
    number = json.loads(issued.stdout)["number"]
    set_up.ca("revoke", number, "--reason", "keyCompromise")
    index = set_up.state / "ca" / "index.sqlite"
    whole = set_up.ca("recover")
    index.unlink()

    dry = set_up.ca("recover", "--json")
    told = json.loads(dry.stdout)
    wrong = set_up.ca("recover", "--issuing-serial", "4711")
    after_dry = index.exists()
    done = set_up.ca("recover", "--issuing-serial", told["issuing"], "--json")
    shown = set_up.ca("show", "--json")
    crl = set_up.ca("renew", "--crl", "--now")

    assert (whole.returncode, dry.returncode, wrong.returncode) == (2, 2, 2)
    assert "nothing to recover" in whole.stderr
    assert f"--issuing-serial {told['issuing']}" in dry.stderr
    assert (told["changed"], told["numbers_only"], after_dry) == (False, [number], False)
    assert (done.returncode, json.loads(done.stdout)["changed"]) == (0, True)
    assert json.loads(shown.stdout)["issued"]["revoked"] == 1
    assert crl.returncode == 0, crl.stderr
    published = StationCa(set_up.state).files.crl("issuing")
    assert published is not None
    assert crl_number(published) == told["next_crl"]["issuing"]
    assert [entry.serial_number for entry in published] == [int(number, 16)]
    assert '"step": "recover"' in (set_up.state / "ca" / "ceremony.jsonl").read_text()


def test_certificate_that_was_found_later_is_added_to_a_whole_index(set_up: Factory) -> None:
    found = set_up.place / "found"
    found.mkdir()
    out = ("--out", str(found / "box.pem"))
    issued = set_up.ca("issue", str(set_up.request("TB-1")), "--serial", "TB-1", "--json", *out)
    number = json.loads(issued.stdout)["number"]
    (set_up.state / "ca" / "index.sqlite").unlink()
    serial = json.loads(set_up.ca("recover", "--json").stdout)["issuing"]
    set_up.ca("recover", "--issuing-serial", serial)
    unknown = set_up.ca("revoke", number)

    added = set_up.ca("recover", "--records", str(found), "--issuing-serial", serial)

    assert unknown.returncode == 6
    assert added.returncode == 0, added.stderr
    assert set_up.ca("revoke", number).returncode == 0


@pytest.mark.fault(
    "Token",
    "the station's SoftHSM2 token of the CA is lost (hsm/, hsm-root/)",
    comes="Misuse, status 2; no token, no PIN and no key is made in its place",
    then="bring the directory back from the backup",
)
@pytest.mark.parametrize(
    ("token", "command"), [("hsm", "issue"), ("hsm-root", "renew --root-crl")], ids=["line", "root"]
)
def test_lost_softhsm_token_is_not_made_anew(
    factory: Factory, tmp_path: Path, token: str, command: str
) -> None:
    factory.state = tmp_path / "station"
    assert factory.ca("init").returncode == 0
    shutil.rmtree(factory.state / token)

    done = asked(factory, "issue") if command == "issue" else factory.ca(*command.split())

    assert done.returncode == 2
    assert "is not there" in done.stderr
    assert "backup" in done.stderr
    assert not (factory.state / token).exists()


def test_unfinished_certificates_of_a_box_are_revoked_with_the_others(set_up: Factory) -> None:
    set_up.ca("issue", str(set_up.request("TB-1")), "--serial", "TB-1")
    StationCa(set_up.state).files.index.begin(NewRow(4711, "device", "TB-1", "ab"))

    done = set_up.ca("revoke", "--device", "TB-1", "--json")

    assert {c["status"] for c in json.loads(done.stdout)["revoked"]} == {"revoked"}
    crl = StationCa(set_up.state).files.crl("issuing")
    assert crl is not None
    assert (len(crl), crl.get_revoked_certificate_by_serial_number(4711) is None) == (2, False)
