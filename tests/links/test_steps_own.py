"""A box of which nobody heard a boot, and whose fuses nobody can read: unknown, and not "no".

This host stands in the place of such a box: it has no UART, and Linux shows no fuses of a
Layerscape. See host_box.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import IntegrityFailure
from harness.target import EvidenceLevel
from provisioning.record import load
from provisioning.run import Provisioned, provision
from provisioning.station import Station
from provisioning.steps_box import RecordStep
from provisioning.steps_own import OwnIdentityStep
from tests.links.host_box import HostBox, Who, host_box
from tests.links.sshd import LocalSshd

pytestmark = pytest.mark.slow
HARDWARE = (EvidenceLevel.HARDWARE, EvidenceLevel.HARDWARE_FUSED)


@pytest.fixture
def box(sshd: LocalSshd, tmp_path: Path) -> Iterator[HostBox]:
    place = tmp_path / "box"
    place.mkdir()
    with host_box(sshd, place) as made:
        yield made


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path / "station")


def looked(
    box: HostBox, station: Station, level: EvidenceLevel, accept: bool = False
) -> Provisioned:
    target = replace(box.target, evidence_level=level)
    plan = replace(box.plan(""), accept_unknown=accept)
    steps = (Who(), OwnIdentityStep(), RecordStep())
    return provision(target, plan, station, steps=lambda: steps)


@pytest.mark.fault(
    "Box",
    "no boot was heard on its UART and its fuses cannot be read",
    comes="IntegrityFailure, status 7, before anything is made on it; an emulator's is recorded as"
    " unknown",
    then='switch it off and run again, so that its boot is heard; or unknown = "accept"',
)
@pytest.mark.parametrize("level", HARDWARE)
def test_hardware_whose_identity_nobody_could_look_at_is_not_enrolled(
    box: HostBox, station: Station, level: EvidenceLevel
) -> None:
    with pytest.raises(IntegrityFailure, match="nobody knows whether its identity") as refused:
        looked(box, station, level)

    assert 'unknown = "accept" in [identity]' in refused.value.hint
    assert not (station.records(box.target.serial) / "record.json").exists()


@pytest.mark.parametrize("level", HARDWARE)
def test_plan_that_accepts_unknown_gets_a_record_that_does_not_say_no(
    box: HostBox, station: Station, level: EvidenceLevel
) -> None:
    done = looked(box, station, level, accept=True)

    assert "UNKNOWN" in done.reports[1].said
    assert own_identity(done).keys() == {"console_lines", "boot_heard", "registers"}


def test_emulators_unknown_identity_is_recorded_as_unknown(box: HostBox, station: Station) -> None:
    done = looked(box, station, EvidenceLevel.FUNCTIONAL)

    assert "unknown" in done.reports[1].said
    assert own_identity(done).keys() == {"console_lines", "boot_heard", "registers"}


def own_identity(done: Provisioned) -> dict[str, object]:
    found = (load(done.directory / "record.json") or {})["own_identity"]
    assert isinstance(found, dict)
    return found
