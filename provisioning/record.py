"""The record of a box: what is known about it, and of every single thing, how it is known.

``observed``: this host saw it itself (a signature that verified, bytes that read back).
``asserted``: the box said so, and nothing but the box vouches for it.
``intended``: what the plan or the firmware's maker wanted; the box was not asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from harness.errors import BadInput
from harness.target import EvidenceLevel
from provisioning.file_trouble import on_disk
from provisioning.private_files import write_durably

FORMAT = "trustbox-record-1"
_LARGEST = 1 << 20

PROVES = {
    EvidenceLevel.FUNCTIONAL: "An emulator: its hardware key is known and its flash is writable."
    " This shows that the steps work, nothing about a real box.",
    EvidenceLevel.HARDWARE: "A real box whose secure boot is not fused: nothing here vouches for"
    " the firmware that it will start next time.",
    EvidenceLevel.HARDWARE_FUSED: "A real box with secure boot fused.",
}


class How(Enum):
    OBSERVED = "observed"
    ASSERTED = "asserted"
    INTENDED = "intended"


@dataclass(frozen=True, slots=True)
class Fact:
    """A value for JSON and how it is known. Never a secret."""

    how: How
    value: object


def observed(value: object) -> Fact:
    return Fact(How.OBSERVED, value)


def asserted(value: object) -> Fact:
    return Fact(How.ASSERTED, value)


def intended(value: object) -> Fact:
    return Fact(How.INTENDED, value)


Facts = Mapping[str, Mapping[str, Fact]]
"""By subject (box, key, certificate, enclave, attestation, tool), then by name."""


def render(facts: Facts, level: EvidenceLevel) -> bytes:
    """The record's JSON, the same bytes for the same facts."""
    document = {
        "format": FORMAT,
        "evidence_level": level.value,
        "evidence_level_means": PROVES[level],
        **as_document(facts),
    }
    return json.dumps(document, indent=2, ensure_ascii=True).encode() + b"\n"


def as_document(facts: Facts) -> dict[str, object]:
    """Facts as a record has them, by subject and name."""
    return {
        subject: {name: {"how": fact.how.value, "value": fact.value} for name, fact in of.items()}
        for subject, of in facts.items()
    }


def save(path: Path, facts: Facts, level: EvidenceLevel) -> None:
    """Replace the record durably."""
    write_durably(path, render(facts, level), mode=0o644)


def load(path: Path) -> dict[str, object] | None:
    """An earlier record; None when there is none. Raises BadInput when it is not a record."""
    expected = f"a record of format {FORMAT}; move it away if it cannot be mended"
    return read_document(path, FORMAT, expected)


def read_document(path: Path, format: str, expected: str) -> dict[str, object] | None:
    """A JSON object that says that it is of this ``format``; None when there is no file.

    Raises BadInput, which says what was ``expected``, Misuse and DiskFailed.
    """
    with on_disk(path, "read"):
        try:
            with path.open("rb") as file:
                text = file.read(_LARGEST + 1)
        except FileNotFoundError:
            return None
    try:
        if len(text) > _LARGEST:
            raise ValueError(f"more than {_LARGEST} octets")
        found = json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise BadInput(
            where=str(path), key="the file", value=str(problem), expected=expected
        ) from problem
    if not isinstance(found, dict) or found.get("format") != format:
        raise BadInput(where=str(path), key="format", value=found, expected=expected)
    return found


def value(record: Mapping[str, object] | None, subject: str, name: str) -> object:
    """One value of a loaded record; None when it is not in it."""
    of = (record or {}).get(subject)
    fact = of.get(name) if isinstance(of, dict) else None
    return fact.get("value") if isinstance(fact, dict) else None
