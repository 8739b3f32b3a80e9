"""What the steps of one run share: the box, the plan, and what was found out so far."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from cryptography import x509

from harness.errors import Misuse
from provisioning.authority import Authority
from provisioning.evidence import Evidence
from provisioning.key_evidence import KeyEvidence
from provisioning.local_services import Services
from provisioning.pins import Pins
from provisioning.plan import Plan
from provisioning.record import Fact
from provisioning.station import Station
from provisioning.token import KeyPair
from provisioning.trustbox import TrustBox
from provisioning.verdict import Verdict

T = TypeVar("T")


@dataclass(slots=True)
class Work:
    """Filled step by step; ``need`` is how a later step takes what an earlier one found."""

    box: TrustBox
    plan: Plan
    station: Station
    directory: Path
    """Where this box's record goes."""
    authority: Callable[[], Authority]
    earlier: dict[str, object] | None
    """The record of an earlier run."""
    replaces: int | None = None
    """The number of the certificate that the box's new key replaces, where a person said so."""
    issued: tuple[x509.Certificate, ...] = ()
    """Issued by this run, or by one before that did not live to read it back from the box."""
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    tee_uuid: UUID | None = None
    pins: Pins | None = None
    key: KeyPair | None = None
    key_evidence: KeyEvidence | None = None
    chain: tuple[x509.Certificate, ...] | None = None
    """The box's certificate and its issuer, leaf first, without the root."""
    enclave_uuid: UUID | None = None
    enclave_bytes: bytes | None = None
    evidence: Evidence | None = None
    verdict: Verdict | None = None
    held: ExitStack = field(default_factory=ExitStack)
    """What steps opened and the run closes."""
    services: Services | None = None
    """The station's own EST server and provisioning service, once a step needed them."""
    differs: list[str] = field(default_factory=list)
    """What the plan wants otherwise and a run changes on nobody's behalf, a sentence each."""
    facts: dict[str, dict[str, Fact]] = field(default_factory=dict)

    def note(self, about: str, /, **facts: Fact) -> None:
        self.facts.setdefault(about, {}).update(facts)


def need(value: T | None, what: str) -> T:
    """Raises Misuse when the steps were put into an order that cannot work."""
    if value is None:
        raise Misuse(f"the steps of this run are in the wrong order: {what} is not known yet")
    return value
