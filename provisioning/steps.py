"""The steps of a run, in their order, and what a step is.

An effect step makes something so. ``probe`` changes nothing and says what is so already, or None;
``act`` makes it so; ``confirm`` looks again and says what is now true, or raises. A look step only
looks, on every run. Both say things in sentences that people read.

An effect step that cannot be undone (fuses, flash, a token's wipe) has ``lasting = True``: it acts
only where ``--lasting`` named the box.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from harness.deadline import Deadline
from provisioning.plan import Plan
from provisioning.steps_box import ReachStep, RecordStep
from provisioning.steps_dps import RegisterStep
from provisioning.steps_edge import EdgeStep
from provisioning.steps_identity import CertificateStep, InstallStep
from provisioning.steps_key import KeyProofStep, KeyStep, MoreKeysStep, TokenStep
from provisioning.steps_own import EarlierStep, OwnIdentityStep
from provisioning.steps_tee import AttestStep, EnclaveStep
from provisioning.work import Work


class EffectStep(Protocol):
    """``name`` is for journals, ``doing`` says what takes time, ``seconds`` bound all of it."""

    name: str
    doing: str
    seconds: float

    def probe(self, work: Work, by: Deadline) -> str | None: ...
    def act(self, work: Work, by: Deadline) -> None: ...
    def confirm(self, work: Work, by: Deadline) -> str: ...


@runtime_checkable
class LookStep(Protocol):
    """As EffectStep, for what changes nothing on the box."""

    name: str
    doing: str
    seconds: float

    def look(self, work: Work, by: Deadline) -> str: ...


def first_run(plan: Plan) -> tuple[EffectStep | LookStep, ...]:
    """Enclave, evidence, key, identity, registration, record: what the plan asks for.

    The TEE is judged before anything is made in it, and before anybody vouches for what was: one
    that fails gets no key, no certificate, and is let in nowhere.
    """
    return (
        ReachStep(),
        OwnIdentityStep(),
        EarlierStep(),
        EnclaveStep(),
        AttestStep(),
        TokenStep(),
        KeyStep(),
        KeyProofStep(),
        *((MoreKeysStep(),) if plan.keys else ()),
        CertificateStep(),
        InstallStep(),
        *((RegisterStep(),) if plan.dps else ()),
        *((EdgeStep(),) if plan.edge else ()),
        RecordStep(),
    )
