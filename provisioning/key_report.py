"""Evidence of several keys of one box, and what of it is not as it must be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from harness.deadline import Deadline
from harness.errors import Misuse
from harness.target import EvidenceLevel
from provisioning.key_evidence import KeyEvidence
from provisioning.key_import import WRAPPING_ID, WRAPPING_LABEL
from provisioning.key_inventory import Held, inventory
from provisioning.key_names import purpose_of
from provisioning.key_verdict import KeyVerdict
from provisioning.keys import KeySession
from provisioning.record import PROVES


@dataclass(frozen=True, slots=True)
class KeyReport:
    """``broken`` are those of which there is not exactly one whole key: quarantine."""

    serial: str
    level: EvidenceLevel
    keys: tuple[KeyEvidence, ...]
    broken: tuple[Held, ...]

    def bad(self, accept: Iterable[KeyVerdict] = ()) -> tuple[str, ...]:
        """What is neither made-inside nor of an accepted verdict, as ``label (verdict)``."""
        good = {KeyVerdict.MADE_INSIDE, *accept}
        found = [f"{k.key.label} ({k.verdict.value})" for k in self.keys if k.verdict not in good]
        return (*found, *(f"{held.label} (quarantine)" for held in self.broken))

    def to_dict(self) -> dict[str, object]:
        """For JSON. No secret is in it."""
        return {
            "serial": self.serial,
            "evidence_level": self.level.value,
            "evidence_level_means": PROVES[self.level],
            "keys": [one.to_dict() for one in self.keys],
            "quarantine": [
                {"cka_id": h.id.hex(), "label": h.label, "trouble": h.trouble} for h in self.broken
            ],
        }


def key_report(
    keys: KeySession,
    names: Iterable[str] = (),
    *,
    attest: bool = False,
    progress: Callable[[str], None] = lambda said: None,
    by: Deadline,
) -> KeyReport:
    """Fresh evidence of the keys of these labels or CKA_IDs; a purpose means all its generations.
    When none is named, of all but the pair that imports are wrapped for, which cannot sign.

    Needs a login. Raises Misuse for a name that no key has. ``attest`` as in KeySession.code.
    """
    held, wanted = inventory(keys.token, by=by), list[Held]()
    for name in names:
        meant = [one for one in held if name in (one.label, purpose_of(one.label), one.id.hex())]
        if not meant:
            there = ", ".join(sorted({one.label for one in held})) or "none"
            raise Misuse(f"the token has no key {name!r}; it has: {there}")
        wanted += [one for one in meant if one not in wanted]
    found: list[KeyEvidence] = []
    code = keys.code(attest=attest, by=by)
    if not wanted:
        wanted = [one for one in held if one.id != WRAPPING_ID]
        if len(wanted) < len(held):
            progress(f"{WRAPPING_LABEL}: unwraps what is imported, and is looked at only by name")
    for one in wanted:
        if one.key is not None:
            progress(f"{one.label}: asking the token, and trying what it must refuse")
            found.append(keys.evidence(one.key, code=code, by=by))
    broken = (h for h in wanted if h.key is None and h.objects != ("certificate",))
    target = keys.target
    return KeyReport(target.serial, target.evidence_level, tuple(found), tuple(broken))
