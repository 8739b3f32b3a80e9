"""The ceremony: how a root and an issuing CA come to be, step by step, and again without harm.

::

    probe ──so already─────────────────────────────→ "already"
      └─not yet→ intent (on the disk) → act → read back → "done" (on the disk)

The steps whose effect stands in a certificate do not open a token to say so: the root's token is
needed when something is to be signed with it, and can lie in a safe otherwise. ``audit`` is what
looks into the tokens.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

from cryptography import x509

from harness.deadline import Deadline
from harness.errors import IntegrityFailure, Misuse, TrustBoxError
from provisioning.authority_files import CaFiles
from provisioning.authority_keys import key_is_good, named, of_kind
from provisioning.authority_opened import Opened, Opener
from provisioning.authority_publish import is_due
from provisioning.authority_settings import CaSettings, save_settings
from provisioning.authority_signing import Signer
from provisioning.authority_state import Stage, stage
from provisioning.idevid import NO_END
from provisioning.journal import Journal
from provisioning.ledger import Ledger
from provisioning.token_public import KeyProfile


@dataclass(frozen=True, slots=True)
class CeremonyReport:
    """How one step went: ``outcome`` is already or done, ``said`` a sentence for people."""

    step: str
    outcome: str
    said: str
    seconds: float

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        told = {"step": self.step, "outcome": self.outcome, "said": self.said}
        return {**told, "seconds": round(self.seconds, 3)}


@dataclass(frozen=True, slots=True)
class Ceremony:
    """``line`` and ``root`` open the tokens, when one is needed; ``root`` None: it is the line's.

    The caller holds the CA's lock.
    """

    files: CaFiles
    settings: CaSettings
    line: Opener
    root: Opener | None = None
    watcher: Callable[[CeremonyReport], None] = field(default=lambda _: None)

    def run(self, *, by: Deadline) -> tuple[CeremonyReport, ...]:
        """All steps in their order; the reports of each. What raises leaves the rest undone."""
        reports = []
        if stage(self.files, settings=False) is Stage.NONE:
            self.files.index.create()  # before a key is made, and never again
        with (
            ExitStack() as stack,
            Journal(self.files.ca / "ceremony.jsonl", secrets.token_hex(8)) as journal,
        ):
            opened = self._opened(stack)
            for step in _STEPS:
                report = _do(step, opened, journal, by)
                reports.append(report)
                self.watcher(report)
        return tuple(reports)

    def audit(self, *, by: Deadline) -> dict[str, str]:
        """Looks into both tokens: by role, what was found. Raises IntegrityFailure for a key that
        is not the certificate's, or is not kept as the policy says.
        """
        with ExitStack() as stack:
            opened = self._opened(stack)
            return {role: key_is_good(opened.signer(role, by), by) for role in ("root", "issuing")}

    def _opened(self, stack: ExitStack) -> Opened:
        return Opened(self.files, self.settings, line=self.line, root=self.root, stack=stack)


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    doing: str
    probe: Callable[[Opened, Deadline], str | None]
    act: Callable[[Opened, Deadline], None]
    confirm: Callable[[Opened, Deadline], str]


def _do(step: _Step, opened: Opened, ledger: Ledger, by: Deadline) -> CeremonyReport:
    started = time.monotonic()
    try:
        said, outcome = step.probe(opened, by), "already"
        if said is None:
            ledger.begin(step.name, step.doing)
            step.act(opened, by)
            said, outcome = step.confirm(opened, by), "done"
        ledger.end(step.name, outcome, said)
    except TrustBoxError as problem:
        ledger.end(step.name, "failed", f"{type(problem).__name__}: {problem}")
        raise
    return CeremonyReport(step.name, outcome, said, time.monotonic() - started)


def _settings_probe(opened: Opened, by: Deadline) -> str | None:
    fixed = opened.files.fixed(opened.settings)
    if fixed:
        raise Misuse(
            f"this CA was set up otherwise ({', '.join(fixed)}), and that stays as it is",
            hint="Leave these options away, or set up another CA with another --state.",
        )
    there = (opened.files.ca / "ca.json").exists()
    if not there and opened.files.has("issuing"):
        _settings_fit(opened, by)
    same = there and opened.files.settings() == opened.settings
    return "ca.json says the same" if same else None


def _settings_fit(opened: Opened, by: Deadline) -> None:
    """ca.json was lost: what is given in its place must be of this CA. Raises Misuse, and
    IntegrityFailure when the line's token does not hold the key of issuing.pem.
    """
    for role in ("root", "issuing"):
        kind = KeyProfile.of(opened.files.certificate(role).public_key())
        if kind is not opened.chosen(role).key:
            told = kind.value if kind else "of no known kind"
            raise Misuse(
                f"the key of {role}.pem is {told}, and not {opened.chosen(role).key.value}",
                hint=f"Give the options of the first time again: --{role}-key {told}.",
            )
    opened.signer("issuing", by)


def _settings_act(opened: Opened, by: Deadline) -> None:
    save_settings(opened.files.ca, opened.settings)


def _settings_confirm(opened: Opened, by: Deadline) -> str:
    if opened.files.settings() != opened.settings:
        raise IntegrityFailure("ca.json does not hold the settings that were written to it")
    return "written to ca.json"


def _key_step(role: str) -> _Step:
    def probe(opened: Opened, by: Deadline) -> str | None:
        if opened.files.has(role):
            return f"{role}.pem is there; its token was not opened"
        pair = opened.pair(role, by)
        if pair is None:
            return None
        of_kind(pair, opened.chosen(role))
        return f"{pair.profile.value}, {key_is_good(Signer(opened.token(role), pair), by)}"

    def act(opened: Opened, by: Deadline) -> None:
        label = f"TrustBox {role} CA"
        opened.token(role).ensure(opened.id(role), label, opened.chosen(role).key, by=by)

    def confirm(opened: Opened, by: Deadline) -> str:
        pair = opened.token(role).find(opened.id(role), by=by)
        if pair is None:
            raise IntegrityFailure(f"the token made the {role} CA's key but does not show it")
        return f"{pair.profile.value}, {key_is_good(Signer(opened.token(role), pair), by)}"

    return _Step(f"{role}-key", f"making the {role} CA's key in its token", probe, act, confirm)


def _certificate_step(role: str) -> _Step:
    def probe(opened: Opened, by: Deadline) -> str | None:
        if not opened.files.has(role):
            return None
        if role == "issuing" and not opened.files.issuing_is_the_roots():
            raise IntegrityFailure("issuing.pem is not signed by root.pem's key")
        return _described(opened.files.certificate(role))

    def act(opened: Opened, by: Deadline) -> None:
        opened.files.save_certificate(role, opened.own_certificate(role, by))

    def confirm(opened: Opened, by: Deadline) -> str:
        opened.signer(role, by)  # its key is the one that the certificate names
        return _described(opened.files.certificate(role))

    return _Step(f"{role}-certificate", f"certifying the {role} CA", probe, act, confirm)


def _crl_step(role: str) -> _Step:
    def probe(opened: Opened, by: Deadline) -> str | None:
        found = opened.files.crl(role)
        return None if found is None or is_due(opened.files, role) else _crl_described(found)

    def act(opened: Opened, by: Deadline) -> None:
        opened.publish(role, by)

    def confirm(opened: Opened, by: Deadline) -> str:
        found = opened.files.crl(role)
        key = opened.files.certificate(role).public_key()
        if found is None or not found.is_signature_valid(key):  # type: ignore[arg-type]
            raise IntegrityFailure(f"{role}.crl does not read back as it was signed")
        return _crl_described(found)

    return _Step(f"{role}-crl", f"publishing the {role} CA's CRL", probe, act, confirm)


_STEPS = (
    _Step("settings", "writing the settings", _settings_probe, _settings_act, _settings_confirm),
    _key_step("root"),
    _certificate_step("root"),
    _key_step("issuing"),
    _certificate_step("issuing"),
    _crl_step("root"),
    _crl_step("issuing"),
)


def _described(found: x509.Certificate) -> str:
    until = found.not_valid_after_utc
    end = "without end" if until == NO_END else f"to {until:%Y-%m-%d}"
    return f"{named(found)}, {end}"


def _crl_described(found: x509.CertificateRevocationList) -> str:
    number = found.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    return f"number {number}, {len(found)} revoked, next by {found.next_update_utc:%Y-%m-%d}"
