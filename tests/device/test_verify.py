"""A provisioned box is proved again from outside, after a power cut, and a spoilt one is not."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from harness.capability import Capability
from harness.deadline import Deadline
from harness.errors import Misuse, TokenRefused
from harness.secret import Secret
from provisioning.iotedge import CONFIG_PATH
from provisioning.plan import example_plan, parse_plan
from provisioning.reprove import Reproof, Verdict, reprove
from provisioning.run import provision
from provisioning.sample_enclave import SAMPLE
from provisioning.station import Station
from provisioning.trustbox import TrustBox

pytestmark = [
    pytest.mark.needs(
        Capability.PKCS11,
        Capability.PKCS11_REMOTE,
        Capability.ATTESTATION,
        Capability.TA_LOAD,
        Capability.TA_DEVKIT,
        Capability.GOLDEN,
        Capability.RESTORE,
    ),
    pytest.mark.timeout(400),
]
PLAN = parse_plan(example_plan().encode(), where="plan.toml", beside=Path("/"))
ALL = (
    *("identity", "pin-counters", "key", "key-proof", "certificate", "path", "handshake"),
    *("registration", "iotedge", "enclave", "attestation"),
)


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


def verdicts(done: Reproof) -> dict[str, Verdict]:
    return {finding.name: finding.verdict for finding in done.findings}


def files_of(box: TrustBox) -> str:
    """Digests of what a check could change: settings, certificates, enclaves, programs left."""
    directories = ("/etc", "/usr/lib/optee_armtz", "/root", "/var/lib/optee-client")
    script = 'find "$@" -type f -not -path "*/tee/*" -exec sha256sum {} + ; ls -A /run /tmp'
    return box.target.shell.run("sh", "-c", script, "sh", *directories, by=Deadline.after(60)).text


@pytest.mark.needs(Capability.POWER)
def test_every_claim_of_the_record_is_proved_again_after_a_power_cut(
    box: TrustBox, station: Station
) -> None:
    provision(box.target, PLAN, station)
    before = files_of(box)

    done = reprove(box.target, station, reboot=True)

    assert verdicts(done) == dict.fromkeys(("reboot", *ALL), Verdict.OK)
    assert (done.ok, done.exit_status) == (True, 0)
    assert files_of(box) == before


def test_each_claim_that_is_not_so_is_named_and_the_others_still_hold(
    box: TrustBox, station: Station
) -> None:
    """Spoilt in five places at once, then with a PIN that was tried wrongly."""
    done = provision(box.target, PLAN, station)
    by = Deadline.after(60)
    assert done.work.chain is not None
    with station.authority(by=by) as ca:
        ca.revoke(done.work.chain[0].serial_number, "keyCompromise", by=by)
    with sqlite3.connect(station.state / "services" / "dps.sqlite") as service:
        service.execute("DELETE FROM registration")
    box.target.shell.run("chmod", "644", CONFIG_PATH, by=by)
    enclave = box.enclave.path(SAMPLE)
    for file in (enclave, box.target.layout.pkcs11_module):
        box.target.shell.run("sh", "-c", 'printf x >>"$1"', "sh", file, by=by)

    spoilt = reprove(box.target, station, reboot=False)
    with pytest.raises(TokenRefused):
        box.keys.login(PLAN.token_label, Secret(b"not-the-pin"), by=Deadline.after(30))
    tried = reprove(box.target, station, reboot=False)

    wrong = ("key-proof", "path", "registration", "iotedge", "enclave")
    assert verdicts(spoilt) == {
        **dict.fromkeys(ALL, Verdict.OK),
        **dict.fromkeys(wrong, Verdict.FAILED),
        "attestation": Verdict.NOT_CHECKED,
    }
    assert (spoilt.ok, spoilt.exit_status) == (False, 7)
    assert verdicts(tried)["pin-counters"] is Verdict.FAILED
    assert verdicts(tried)["key"] is Verdict.NOT_CHECKED


def test_box_without_a_record_is_not_proved(box: TrustBox, station: Station) -> None:
    with pytest.raises(Misuse, match="there is no record of"):
        reprove(box.target, station, reboot=False)
