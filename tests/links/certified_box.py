"""A box that the station's CA certified, for tests of what becomes of it. See host_box."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace

from harness.target import EvidenceLevel
from provisioning.authority_entry import Entry
from provisioning.authority_open import StationCa
from provisioning.plan import Plan
from provisioning.run import Provisioned, Watcher, provision
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep
from provisioning.steps_box import RecordStep
from provisioning.steps_identity import CertificateStep, InstallStep
from provisioning.steps_key import KeyStep, TokenStep
from provisioning.steps_own import EarlierStep
from tests.links.host_box import SERIAL, HostBox, Who


@dataclass
class Notes(Watcher):
    said: list[str] = field(default_factory=list)

    def noticed(self, said: str) -> None:
        self.said.append(said)


def run(
    box: HostBox,
    plan: Plan,
    station: Station,
    *after: LookStep,
    replaces: int | None = None,
    level: EvidenceLevel = EvidenceLevel.FUNCTIONAL,
    watcher: Watcher | None = None,
) -> Provisioned:
    """``after``: what comes between the certificate and its installation."""

    def steps() -> tuple[EffectStep | LookStep, ...]:
        first = (Who(), EarlierStep(), TokenStep(), KeyStep(), CertificateStep())
        return (*first, *after, InstallStep(), RecordStep())

    target = replace(box.target, evidence_level=level)
    return provision(target, plan, station, steps=steps, replaces=replaces, watcher=watcher)


def certificates(station: Station) -> tuple[Entry, ...]:
    """The box's in the CA's index, newest first."""
    return StationCa(station.state).files.index.of_device(SERIAL)


def objects(box: HostBox) -> list[str]:
    return sorted(p.name for p in (box.place / "tokens").rglob("*.object"))


def wipe(box: HostBox) -> None:
    """As a TEE's storage that was thrown away."""
    shutil.rmtree(box.place / "tokens")
    (box.place / "tokens").mkdir()
