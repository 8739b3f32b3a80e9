"""Proving a box again without a TEE: which checks, and a run that ends where a test wants it to.

See host_box.
"""

from __future__ import annotations

from uuid import UUID

from harness.deadline import Deadline
from provisioning.plan import Plan
from provisioning.reprove import Finding, Reproof, Verdict, reprove
from provisioning.reprove_checks import CHECKS, Check
from provisioning.run import provision
from provisioning.station import Station
from provisioning.steps import EffectStep, LookStep
from provisioning.steps_box import RecordStep
from provisioning.steps_identity import CertificateStep, InstallStep
from provisioning.steps_key import KeyProofStep, KeyStep, TokenStep
from provisioning.work import Work
from tests.links.host_box import HostBox, Who

OWN = '[enrollment.est]\nserver = "station"\n'
RENEWING = f"{OWN}renew_days = 3650\n"
HERE = ("station", "pin-counters", "key", "certificate", "files", "path")


def which(work: Work, by: Deadline) -> str:
    work.tee_uuid = UUID(int=1)
    return "this host"


LOOKS = (Check("identity", which), *(check for check in CHECKS if check.name in HERE))


def run(
    box: HostBox, plan: Plan, station: Station, *last: LookStep, of: InstallStep | None = None
) -> None:
    def steps() -> tuple[EffectStep | LookStep, ...]:
        key = (Who(), TokenStep(), KeyStep(), KeyProofStep())
        return (*key, CertificateStep(), of or InstallStep(), *last, RecordStep())

    provision(box.target, plan, station, steps=steps)


def proved(box: HostBox, station: Station) -> Reproof:
    return reprove(box.target, station, reboot=False, checks=LOOKS)


def failed(proof: Reproof) -> dict[str, Finding]:
    return {f.name: f for f in proof.findings if f.verdict is not Verdict.OK}
