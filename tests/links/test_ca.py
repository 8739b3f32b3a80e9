"""``trustbox ca`` as a factory uses it every day: its HSM named by URI, its root in a safe."""

from __future__ import annotations

import json

import pytest
from cryptography import x509

from harness.deadline import Deadline
from provisioning.authority_open import StationCa
from provisioning.authority_policy import POLICY
from provisioning.idevid import profile_faults
from tests.links.ca_hsm import PINS, Factory

pytestmark = pytest.mark.slow


def test_root_in_the_safe_is_not_missed_by_the_line(set_up: Factory) -> None:
    """Without the root's PIN nothing can ask its token; issuing, revoking and the CRL go on."""
    set_up.pin_file("Root CA").unlink()

    issued = set_up.ca("issue", str(set_up.request("TB-1")), "--serial", "TB-1", "--json")
    revoked = set_up.ca("revoke", json.loads(issued.stdout)["number"], "--reason", "superseded")
    crl = set_up.ca("renew", "--crl", "--now")
    root_crl = set_up.ca("renew", "--root-crl")

    assert (issued.returncode, revoked.returncode, crl.returncode) == (0, 0, 0)
    assert root_crl.returncode == 2
    assert "root.pin" in root_crl.stderr


def test_issued_chain_is_the_boxs_idevid_and_openssl_verifies_it(set_up: Factory) -> None:
    done = set_up.ca(
        "issue", str(set_up.request("TB-1")), "--serial", "TB-1", "--days", "unlimited"
    )
    (set_up.place / "chain.pem").write_text(done.stdout)

    root = set_up.state / "ca" / "root.pem"
    argv = ("openssl", "verify", "-x509_strict", "-CAfile", str(root))
    verified = set_up.run(*argv, "-untrusted", "chain.pem", "chain.pem")

    leaf = x509.load_pem_x509_certificates(done.stdout.encode())[0]
    assert verified.returncode == 0
    assert profile_faults(leaf, "TB-1") == ()
    assert leaf.not_valid_after_utc.year == 9999
    assert "lasts longer than the issuing CA's own" in done.stderr


def test_issuing_again_says_that_it_was_and_gives_the_same(set_up: Factory) -> None:
    """As PEM from a file, and as DER from stdin."""
    place = set_up.request("TB-1")
    first = set_up.ca("issue", str(place), "--serial", "TB-1", "--json")
    der = set_up.run("openssl", "req", "-in", place.name, "-outform", "DER").stdout

    again = set_up.ca("issue", "-", "--serial", "TB-1", "--json", stdin=der)

    one, other = json.loads(first.stdout), json.loads(again.stdout)
    assert (one["changed"], other["changed"]) == (True, False)
    assert one["chain"] == other["chain"]


@pytest.mark.case("N-47")
def test_request_of_another_box_is_refused(set_up: Factory) -> None:
    done = set_up.ca("issue", str(set_up.request("TB-1")), "--serial", "TB-2")

    assert done.returncode == 6
    assert done.stdout == ""
    assert "instead" in done.stderr


def test_revoked_certificate_is_shown_with_its_reason(set_up: Factory) -> None:
    set_up.ca("issue", str(set_up.request("TB-1")), "--serial", "TB-1")

    done = set_up.ca("revoke", "--device", "TB-1", "--reason", "keyCompromise", "--json")
    shown = set_up.ca("show", "--device", "TB-1", "--json")

    told = json.loads(done.stdout)
    assert told["changed"]
    assert [c["reason"] for c in json.loads(shown.stdout)["certificates"]] == ["keyCompromise"]
    crl = set_up.run("openssl", "crl", "-inform", "DER", "-in", told["crl"], "-noout", "-text")
    assert b"Key Compromise" in crl.stdout


def test_renewed_issuing_ca_vouches_for_what_was_issued_before(set_up: Factory) -> None:
    issued = set_up.ca("issue", str(set_up.request("TB-1")), "--serial", "TB-1", "--json")
    leaf = json.loads(issued.stdout)["chain"].partition("-----END CERTIFICATE-----\n")
    (set_up.place / "leaf.pem").write_text(leaf[0] + leaf[1])
    before = (set_up.state / "ca" / "issuing.pem").read_bytes()

    done = set_up.ca("renew", "--issuing")

    assert done.returncode == 0, done.stderr
    assert (set_up.state / "ca" / "issuing.pem").read_bytes() != before
    ca = set_up.state / "ca"
    argv = ("openssl", "verify", "-CAfile", str(ca / "root.pem"), "-untrusted")
    assert set_up.run(*argv, str(ca / "issuing.pem"), "leaf.pem").returncode == 0


@pytest.mark.parametrize("command", ["issue", "renew"])
def test_box_with_a_new_key_is_certified_once_it_is_said_what_that_replaces(
    set_up: Factory, command: str
) -> None:
    old = str(set_up.request("TB-1", "old"))
    first = json.loads(set_up.ca("issue", old, "--serial", "TB-1", "--json").stdout)["number"]
    new = str(set_up.request("TB-1", "new"))
    asked = ("--device", "TB-1", "--request", new) if command == "renew" else (new, "--serial")
    asked = asked if command == "renew" else (*asked, "TB-1")

    refused = set_up.ca(command, *asked)
    replaced = set_up.ca(command, *asked, "--replaces", first, "--json")

    assert refused.returncode == 6
    assert f"--replaces {first}" in refused.stderr
    assert json.loads(replaced.stdout)["changed"], replaced.stderr


def test_show_asks_no_token_unless_told_to(set_up: Factory) -> None:
    asked = set_up.ca("show", "--tokens", "--json")
    for label in PINS:
        set_up.pin_file(label).unlink()

    done = set_up.ca("show", "--json")

    told = json.loads(done.stdout)
    assert told["root"]["key"] == "ec-p384"
    assert "tokens" not in told
    assert set(json.loads(asked.stdout)["tokens"]) == {"root", "issuing"}
    assert set_up.ca("show", "--tokens").returncode == 2


def test_policy_is_shown_without_a_ca(factory: Factory) -> None:
    done = factory.ca("show", "--policy", "--json")

    assert json.loads(done.stdout) == [json.loads(json.dumps(rule.to_dict())) for rule in POLICY]


@pytest.mark.parametrize("command", ["issue", "renew", "revoke", "show"])
def test_without_a_ceremony_there_is_no_ca(factory: Factory, command: str) -> None:
    arguments = {
        "issue": (str(factory.request("TB-1")), "--serial", "TB-1"),
        "renew": ("--crl",),
        "revoke": ("--device", "TB-1"),
        "show": (),
    }

    done = factory.ca(command, *arguments[command])

    assert done.returncode == 2
    assert "trustbox ca init" in done.stderr


@pytest.mark.parametrize("command", ["init", "issue", "renew", "revoke", "show"])
def test_help_of_each_command_teaches(factory: Factory, command: str) -> None:
    done = factory.ca(command, "--help")

    assert done.returncode == 0
    assert f"Usage: trustbox ca {command}" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("renew",),
        ("renew", "--crl", "--root-crl"),
        ("renew", "--crl", "--days", "3"),
        ("renew", "--device", "TB-1", "--days", "many"),
        ("revoke",),
        ("revoke", "aa", "--device", "TB-1"),
        ("revoke", "no number"),
        ("issue", "/no/such/file", "--serial", "TB-1"),
        ("issue", "/dev/null", "--serial", "TB-1", "--days", "0"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_status_2_and_changes_nothing(
    set_up: Factory, arguments: tuple[str, ...]
) -> None:
    before = (set_up.state / "ca" / "issuing.crl").read_bytes()

    done = set_up.ca(*arguments)

    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert (set_up.state / "ca" / "issuing.crl").read_bytes() == before


def test_list_of_what_is_to_be_revoked_is_shown_and_worked_off(set_up: Factory) -> None:
    issued = set_up.ca("issue", str(set_up.request("TB-1")), "--serial", "TB-1", "--json")
    number = json.loads(issued.stdout)["number"]
    before = set_up.ca("show")
    nothing = set_up.ca("revoke", "--pending", "--json")

    put = set_up.ca("to-revoke", number, "--why", "the box never came back", "--json")
    shown, text = set_up.ca("show", "--json"), set_up.ca("show")
    refused = set_up.ca("renew", "--device", "TB-1", "--now")
    done = set_up.ca("revoke", "--pending", "--reason", "cessationOfOperation", "--json")
    after = json.loads(set_up.ca("show", "--json").stdout)

    assert "unfinished: not read back" in before.stdout
    assert json.loads(nothing.stdout)["revoked"] == []
    assert json.loads(put.stdout)["status"] == "to revoke"
    assert [c["to_revoke"] for c in json.loads(shown.stdout)["to_revoke"]] == [
        "the box never came back"
    ]
    assert "the box never came back" in text.stdout
    assert refused.returncode == 6
    assert [c["reason"] for c in json.loads(done.stdout)["revoked"]] == ["cessationOfOperation"]
    assert (after["to_revoke"], after["unfinished"]) == ([], [])


def test_renewal_is_shown_as_good_beside_the_one_before_until_it_was_read_back(
    set_up: Factory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFTHSM2_CONF", set_up.environment["SOFTHSM2_CONF"])
    by = Deadline.after(60)
    set_up.ca("issue", str(set_up.request("TB-1")), "--serial", "TB-1")
    with StationCa(set_up.state).opened(by=by) as ca:
        [first] = [entry.certificate for entry in ca.good("TB-1")]
        assert first is not None
        ca.read_back(first, by=by)
        second, _ = ca.renew("TB-1", now=True, by=by)
        between = json.loads(set_up.ca("show", "--json").stdout)
        ca.read_back(second, by=by)
    after = json.loads(set_up.ca("show", "--json").stdout)

    told = [[c["number"] for c in between[name]] for name in ("unfinished", "good_until_read_back")]
    assert told == [[f"{second.serial_number:x}"], [f"{first.serial_number:x}"]]
    assert (after["unfinished"], after["good_until_read_back"]) == ([], [])


@pytest.mark.parametrize("there", ["revoked", "superseded", "none"])
def test_revoking_a_box_says_what_was_there(set_up: Factory, there: str) -> None:
    if there != "none":
        set_up.ca("issue", str(set_up.request("TB-1")), "--serial", "TB-1")
        reason = "superseded" if there == "superseded" else "keyCompromise"
        set_up.ca("revoke", "--device", "TB-1", "--reason", reason)

    done = set_up.ca("revoke", "--device", "tb-1", "--reason", "keyCompromise")

    said = {
        "revoked": (0, "already"),
        "superseded": (0, "(keyCompromise)"),
        "none": (6, "issued no certificate to tb-1"),
    }[there]
    assert done.returncode == said[0], done.stderr
    assert said[1] in done.stdout + done.stderr


def test_period_that_differs_from_the_certificates_is_said_and_nothing_is_issued(
    set_up: Factory,
) -> None:
    asked = (str(set_up.request("TB-1")), "--serial", "TB-1", "--days")
    first = set_up.ca("issue", *asked, "3650", "--json")

    again = set_up.ca("issue", *asked, "30")
    told = set_up.ca("issue", *asked, "30", "--json")

    assert "issued for 3650 days and not for 30" in again.stderr
    one, other = json.loads(first.stdout), json.loads(told.stdout)
    assert (one["days"], other["days"], other["changed"]) == (3650, 3650, False)
    assert one["number"] == other["number"]


@pytest.mark.fault(
    "CA",
    "an old copy of the index was put back before any CRL was published",
    comes="ca show lists the certificates that the records have and the index has not; a box that"
    " shows one is let in nowhere",
    then="bring back the newest copy, or trustbox ca recover --records DIR",
)
def test_certificates_that_only_the_records_have_are_shown(set_up: Factory) -> None:
    index = set_up.state / "ca" / "index.sqlite"
    older = index.read_bytes()
    place = set_up.state / "records" / "TB-1" / "issued"
    place.mkdir(parents=True)
    out = ("--out", str(place / "aa.pem"), "--json")
    issued = set_up.ca("issue", str(set_up.request("TB-1")), "--serial", "TB-1", *out)
    before = json.loads(set_up.ca("show", "--json").stdout)["not_in_the_index"]
    index.write_bytes(older)

    told = json.loads(set_up.ca("show", "--json").stdout)["not_in_the_index"]

    assert before == []
    assert [c["number"] for c in told] == [json.loads(issued.stdout)["number"]]
