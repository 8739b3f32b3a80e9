"""What was kept of a box's enrolment, as the thing to compare it with later."""

from __future__ import annotations

import json
from pathlib import Path

from harness.errors import BadInput
from provisioning.evidence import Evidence
from provisioning.observed import Observed
from provisioning.policy_file import Pinned
from provisioning.storage_witness import token_name

LARGEST_KEPT = 1 << 20
"""Characters of a file with pinned evidence; a record takes some 20,000."""


def read_pin(path: Path) -> Pinned:
    """From evidence, the output of ``attest --json`` (which tells most), or a provisioning record.

    Raises BadInput.
    """
    try:
        with path.open(encoding="utf-8") as file:
            # One more than allowed, so that a longer file is refused instead of cut.
            kept = file.read(LARGEST_KEPT + 1)
        found = json.loads(kept)
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(
            where=str(path), key="the file", value=str(error), expected="evidence as JSON"
        ) from error
    for way in (("attestation", "evidence", "value"), ("evidence",)):
        if (inside := _inside(found, way)) is not None:
            evidence = Evidence.from_dict(inside)
            break
    else:
        evidence = Evidence.from_dict(found)
        return Pinned(key=evidence.key, tee_uuid=evidence.tee_uuid)
    if (seen := _inside(found, ("observed",))) is None:
        return Pinned(key=evidence.key, tee_uuid=evidence.tee_uuid, tokens=_recorded(found))
    observed = Observed.from_dict(seen)
    return Pinned(
        evidence.key, observed.ta_files, observed.counter, evidence.tee_uuid, observed.tokens
    )


def _recorded(found: object) -> tuple[str, ...] | None:
    """The token that a provisioning record has."""
    slot, label = (_inside(found, ("token", name, "value")) for name in ("slot", "label"))
    return (token_name(slot, label),) if type(slot) is int and isinstance(label, str) else None


def _inside(found: object, way: tuple[str, ...]) -> object:
    for name in way:
        found = found.get(name) if isinstance(found, dict) else None
    return found
