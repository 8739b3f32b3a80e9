"""The ceremony of ``trustbox ca init``: once, again, cut short, and with what must not be."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from harness.deadline import Deadline
from harness.errors import IntegrityFailure, Misuse
from provisioning.authority_open import StationCa
from provisioning.authority_settings import CaSettings
from provisioning.authority_tokens import ISSUING_ID, opened_token
from tests.links.ca_hsm import PINS, Factory

pytestmark = pytest.mark.slow

STEPS = [
    "settings",
    "root-key",
    "root-certificate",
    "issuing-key",
    "issuing-certificate",
    "root-crl",
    "issuing-crl",
]


def steps(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {step["step"]: step["outcome"] for step in json.loads(done.stdout)["steps"]}


def test_ceremony_makes_all_of_it_once_and_nothing_the_second_time(factory: Factory) -> None:
    first = factory.ca("init", *factory.tokens(), "--json")
    files = {f.name: f.read_bytes() for f in (factory.state / "ca").glob("*.[pc][er][ml]")}

    again = factory.ca("init", "--json")

    assert steps(first) == dict.fromkeys(STEPS, "done"), first.stderr
    assert steps(again) == dict.fromkeys(STEPS, "already")
    assert (json.loads(first.stdout)["changed"], json.loads(again.stdout)["changed"]) == (
        True,
        False,
    )
    assert len(files) == 4
    assert {f.name: f.read_bytes() for f in (factory.state / "ca").glob("*.[pc][er][ml]")} == files


def test_keys_are_in_their_own_tokens_and_nowhere_else(
    set_up: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", set_up.environment["SOFTHSM2_CONF"])
    by = Deadline.after(60)
    held = {}
    for label in PINS:
        with opened_token(set_up.uri(label), set_up.state, by=by) as token:
            held[label] = token.find(ISSUING_ID, by=by) is not None

    assert held == {"Root CA": False, "Line CA": True}
    assert not any(b"PRIVATE" in f.read_bytes() for f in (set_up.state / "ca").iterdir())
    # Beside it there are only the counts of wrong PINs.
    assert {d.name for d in set_up.state.iterdir()} == {"ca", "pins"}
    assert [d.name for d in (set_up.state / "pins").iterdir()] == ["budget"]


def test_wrong_pin_is_said_once_and_what_is_there_is_kept(factory: Factory) -> None:
    factory.pin_file("Line CA").write_text("not-the-pin\n")
    failed = factory.ca("init", *factory.tokens())
    factory.pin_file("Line CA").write_text(PINS["Line CA"])

    again = factory.ca("init", "--json")

    assert failed.returncode == 6
    assert failed.stderr.count("CKR_PIN_INCORRECT") == 1
    assert [step for step, outcome in steps(again).items() if outcome == "already"] == STEPS[:3]


def test_settings_can_be_mended_until_a_certificate_stands_on_them(factory: Factory) -> None:
    wrong = factory.uri("Root CA").replace("Root%20CA", "Roof%20CA")
    line = factory.uri("Line CA")
    failed = factory.ca("init", "--root-token", wrong, "--issuing-token", line)

    mended = factory.ca("init", *factory.tokens())
    late = factory.ca("init", "--issuing-key", "rsa-3072")

    assert (failed.returncode, mended.returncode, late.returncode) == (6, 0, 2)
    assert "no token as the URI names it" in failed.stderr
    assert "set up otherwise (issuing)" in late.stderr


@pytest.mark.parametrize("step", ["root-key", "root-certificate", "issuing-key", "root-crl"])
def test_ceremony_that_is_killed_goes_on_and_makes_nothing_twice(
    factory: Factory, step: str
) -> None:
    child = subprocess.Popen(
        factory.argv("init", *factory.tokens()),
        env=factory.environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    assert child.stderr is not None
    for line in child.stderr:
        if step.encode() in line.split()[1:2]:
            child.send_signal(signal.SIGKILL)
            break
    child.stderr.close()
    assert child.wait() == -signal.SIGKILL

    again = factory.ca("init", "--json")

    before = STEPS[: STEPS.index(step) + 1]
    assert again.returncode == 0, again.stderr
    assert all(steps(again)[name] == "already" for name in before)
    index = StationCa(factory.state).files.index
    assert (len(index.of_role("root")), len(index.of_role("issuing"))) == (1, 1)


def test_certificate_that_was_signed_before_a_power_cut_is_not_signed_again(
    set_up: Factory,
) -> None:
    """The index had it, the file had not been written yet."""
    place = set_up.state / "ca" / "issuing.pem"
    before = place.read_bytes()
    place.unlink()

    again = set_up.ca("init", "--json")

    assert steps(again)["issuing-certificate"] == "done"
    assert place.read_bytes() == before


def test_issuing_certificate_of_another_root_is_an_integrity_failure(
    set_up: Factory, tmp_path: Path
) -> None:
    by = Deadline.after(60)
    with StationCa(tmp_path / "other").opened(make=True, by=by):
        pass
    stranger = (tmp_path / "other" / "ca" / "issuing.pem").read_bytes()
    (set_up.state / "ca" / "issuing.pem").write_bytes(stranger)

    assert set_up.ca("init").returncode == 7
    assert set_up.ca("show", "--tokens").returncode == 7


def test_station_makes_itself_a_ca_only_where_no_hsm_is_named(
    tmp_path: Path, factory: Factory
) -> None:
    by = Deadline.after(60)
    (factory.state / "ca").mkdir(parents=True)
    settings = CaSettings().to_dict()
    settings["root"] = {"token": factory.uri("Root CA"), "key": "ec-p384", "days": None}
    (factory.state / "ca" / "ca.json").write_text(json.dumps(settings))

    with StationCa(tmp_path / "own").opened(make=True, by=by) as ca:
        assert ca.issuing.issuer == ca.root.subject
    with (
        pytest.raises(Misuse, match="is not set up"),
        StationCa(factory.state).opened(make=True, by=by),
    ):
        raise AssertionError("a CA was made in somebody's HSM")


def test_existing_key_of_the_hsm_is_used_by_its_id(
    factory: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", factory.environment["SOFTHSM2_CONF"])
    by = Deadline.after(60)
    with opened_token(factory.uri("Line CA"), factory.state, by=by) as token:
        pair, _ = token.ensure(b"\x42\x01", "their key", by=by)
    line = factory.uri("Line CA", id=b"\x42\x01")

    root = factory.uri("Root CA")
    done = factory.ca("init", "--root-token", root, "--issuing-token", line, "--json")

    assert steps(done)["issuing-key"] == "already"
    issuing = StationCa(factory.state).files.certificate("issuing")
    assert issuing.public_key() == pair.public_key


def test_key_that_could_leave_its_token_is_no_ca_key(factory: Factory) -> None:
    """Put into the token by hand, as a file key is imported: the attributes tell."""
    factory.run("openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.pem")
    factory.run("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", "ca.pem", "-out", "ca.p8")
    factory.run(
        *("softhsm2-util", "--import", "ca.p8", "--token", "Line CA", "--label", "imported"),
        *("--id", ISSUING_ID.hex(), "--pin", PINS["Line CA"]),
    )

    done = factory.ca("init", *factory.tokens())

    assert done.returncode == IntegrityFailure.exit_status
    assert "LOCAL = False" in done.stderr
    assert not (factory.state / "ca" / "issuing.pem").exists()


def test_revoked_issuing_ca_certifies_nobody_and_the_roots_crl_says_so(set_up: Factory) -> None:
    request = str(set_up.request("TB-1"))
    set_up.ca("issue", request, "--serial", "TB-1", "--out", str(set_up.place / "chain.pem"))

    done = set_up.ca("revoke", "--issuing", "--reason", "cACompromise", "--json")
    again = set_up.ca("issue", request, "--serial", "TB-1")

    crl = json.loads(done.stdout)["crl"]
    shown = set_up.run("openssl", "crl", "-inform", "DER", "-in", crl, "-noout", "-text").stdout
    assert b"CA Compromise" in shown
    assert again.returncode == 2
    assert "was revoked" in again.stderr


def test_issuing_ca_is_revoked_at_once_even_if_the_root_must_be_fetched(set_up: Factory) -> None:
    pin = set_up.pin_file("Root CA").read_bytes()
    set_up.pin_file("Root CA").unlink()
    failed = set_up.ca("revoke", "--issuing", "--reason", "cACompromise")
    refused = set_up.ca("issue", str(set_up.request("TB-1")), "--serial", "TB-1")
    set_up.pin_file("Root CA").touch(mode=0o600)
    set_up.pin_file("Root CA").write_bytes(pin)

    completed = set_up.ca("revoke", "--issuing", "--reason", "cACompromise")

    assert (failed.returncode, refused.returncode, completed.returncode) == (2, 2, 0)
    crl = StationCa(set_up.state).files.crl("root")
    assert crl is not None
    assert len(crl) == 1


def test_another_issuing_ca_comes_from_the_same_root(set_up: Factory) -> None:
    """The way out after a revocation: another state, the same root's key, another key in the line's
    token.
    """
    set_up.ca("revoke", "--issuing", "--reason", "cACompromise")
    before = StationCa(set_up.state).files.certificate("root")
    set_up.state = set_up.place / "second"

    root, line = set_up.uri("Root CA"), set_up.uri("Line CA", id=b"second")
    done = set_up.ca("init", "--root-token", root, "--issuing-token", line, "--json")

    assert steps(done)["root-key"] == "already", done.stderr
    assert steps(done)["issuing-key"] == "done"
    files = StationCa(set_up.state).files
    files.certificate("issuing").verify_directly_issued_by(before)
